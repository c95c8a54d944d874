"""A small world to try the control plane in: pods made of network namespaces, real Envoys, a demo.

Nothing here is needed to serve a mesh.  The lab plays the parts that a cluster has and a laptop has
not: it hands out addresses, writes the Pod and EndpointSlice objects, redirects traffic and runs
Envoys.  It sees the control plane from outside only: a directory, a socket and HTTP.
"""
