"""How fast, how large, and why: the control plane against a bare gRPC loop, on one machine.

    mesh       synthetic meshes: services, endpoints, rules and the proxies in them
    http2      gRPC's side of HTTP/2, as much of it as a client needs
    peer       a synthetic proxy: what it has, what it asks for, what it answers
    fleet      a process of many peers
    plant      a process with the control plane, and instruments on it
    bare       a process that only writes given bytes to given streams: what gRPC alone costs
    child      how this process talks to those
    spine, fanout, memory, storm
                the cases; each returns plain data
    graph       the incremental engine by itself, with queries that do nothing
    report     tables, JSON; plots draws them

`python -m benchmarks` (or `make bench`) runs all; docs/performance.md explains the results.
Nothing here asserts a time: another machine, or a busy one, has other times.
"""
