"""Where objects come from: a directory, code, later a cluster.  All emit the same stream of changes.

A source knows names, not meaning: it tells *which* object is there with *what* content and from
where, and keeps what it told when its origin fails (an outage never empties a mesh).  What the content
means, and whether it is valid, is decided one layer up, in the store.
"""
