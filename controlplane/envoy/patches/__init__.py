"""EnvoyFilter: what is generated, patched.

A patched resource is made of the one that everybody else is given: it is read, changed and written again.  So
no builder knows of patches, what no patch touches keeps its shared bytes, and proxies for which the same
patches hold share what comes out.
"""
