"""Many synthetic proxies, light enough that the server is what is measured; against any xDS server.

Run it so:

    with Fleet("unix:/run/xds.sock", nodes, FleetOptions(processes=2)) as fleet:
        fleet.connect()
        ...                      # change something
        fleet.quiet(0.5)
        for receipt in fleet.receipts(): ...

    fleet       Fleet: what users call; the parent of the processes
    options     plain values: what a fleet is told, and what it tells
    behaviour   late answers, refusals and stalls, drawn from a seed
    process     a process of proxies, and its commands
    proxies     connections, answers and receipts
    peer        one synthetic proxy: what it has, what it asks for, what it answers
    holdings    what proxies have, shared by those that have the same
    requests    what is asked, as bytes, in both variants of the protocol
    responses   what is told; equal bodies are parsed once
    frames      the resources in it, one by one
    http2       gRPC's side of HTTP/2, as much of it as a client needs
    sockets     addresses, and sockets to them
    tls         TLS over such a socket
    loop        one epoll loop
"""

from controlplane.lab.fleet.behaviour import Behaviour, Delay, Nack, Stall
from controlplane.lab.fleet.fleet import Fleet, FleetError, View
from controlplane.lab.fleet.options import Connected, Ending, FleetOptions, Receipt, Turn
from controlplane.lab.fleet.tls import Tls

__all__ = [
    "Behaviour",
    "Connected",
    "Delay",
    "Ending",
    "Fleet",
    "FleetError",
    "FleetOptions",
    "Nack",
    "Receipt",
    "Stall",
    "Tls",
    "Turn",
    "View",
]
