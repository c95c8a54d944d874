"""`mini-istioctl compose mesh`: gives the services of a user's Compose project their sidecars.

It works on the text of the file.  A library reads it (`document`); what a meshed project is, is decided on
plain values (`plan`, `sidecar`, `plane`); and then the text is changed only where it must be (`weave`).  A
key of a user that has to go stays in its place under a name that Compose ignores, `x-mini-istiod-KEY`.  So
comments, anchors, order and quotes survive, a difference is short, and taking the mesh out again (`unravel`)
gives back every byte.
"""
