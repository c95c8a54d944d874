"""The control planes that this one is compared with, built from the Go module proxy.

istiod/      a module that pins istiod: nothing of our own but its go.mod
snapshot/    the simplest control plane on go-control-plane
standin/     as much of a Kubernetes API as istiod needs to run without a cluster
build        builds what is missing; `python -m bench.peers`
"""
