"""The data-plane simulator: where does a call end, given what a proxy was served, and why.

It reads Envoy's messages as they go over the wire and knows nothing of what they were made from, so that it
sees a translator's mistake as Envoy would.

    call.py       what a client does             outcome.py    where that ends
    served.py     what the proxy was served      walk.py       a call on its way
    listening.py  listener, listener filters     chains.py     the filter chain
    network.py    TLS, network filters           filters.py    HTTP filters
    routes.py     virtual host, route            forwarding.py what the route does
    clusters.py   the hosts                      simulate.py   all of it

Envoy's documentation says what each part does; what it does not say, running Envoys were asked, and a test
asks them again (docs/simulator.md).
"""

from __future__ import annotations

from controlplane.sim.call import Call, Http, Tls, Token, Way
from controlplane.sim.outcome import End, Host, Kind, Outcome, Share, Step
from controlplane.sim.served import Served, dumped, served
from controlplane.sim.simulate import onward, simulate

__all__ = [
    "Call",
    "End",
    "Host",
    "Http",
    "Kind",
    "Outcome",
    "Served",
    "Share",
    "Step",
    "Tls",
    "Token",
    "Way",
    "dumped",
    "onward",
    "served",
    "simulate",
]
