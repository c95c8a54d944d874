"""Containers as a source: what runs in Docker, as Kubernetes would have it.

`container` reads what Docker tells of one container, `objects` makes the Services, workloads and
endpoints of all of them.  Both are pure.  `source` follows a Docker daemon, `compose_file` files and DNS.
"""
