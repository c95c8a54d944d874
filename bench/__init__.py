"""How fast, how large, and why: the control plane against a bare gRPC loop, on one machine.

    plant      a process with the control plane, and instruments on it
    twofold    proxies that are served by both
    bare       a process that only writes given bytes to given streams: what gRPC alone costs
    spine, fanout, memory, storm
                the cases; each returns plain data
    signing     certificates per second of one core, and what of it is cryptography
    containers  what a container costs that goes and comes back; engine is the Docker that is played for it
    graph       the incremental engine by itself, with queries that do nothing
    fleet_cost, fleet_share
                what synthetic proxies cost, by themselves and beside the server
    report     tables, JSON; plots draws them

Meshes and proxies are those of the lab: controlplane.lab.churn, controlplane.lab.fleet.
`python -m bench` (or `make bench`) runs all; docs/performance.md explains the results.
Nothing here asserts a time: another machine, or a busy one, has other times.
"""
