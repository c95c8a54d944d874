"""What changes, when: synthetic meshes and the changes made to them.

    mesh      services, endpoints, rules and the proxies in them
"""
