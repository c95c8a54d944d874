"""From a call to its ends: listener, inspection, chain, filters, route, cluster, host."""

from __future__ import annotations

from controlplane.model.hosts import is_address
from controlplane.sim.call import Call, Http, Tls
from controlplane.sim.chains import find_chain
from controlplane.sim.listening import bypasses, take
from controlplane.sim.network import pass_chain
from controlplane.sim.outcome import End, Host, Outcome, Step
from controlplane.sim.served import Served
from controlplane.sim.walk import CannotTell, Walk, config_of


def simulate(served: Served, call: Call) -> Outcome:
    """Where a call ends, given what its proxy was served.  Never raises on configuration or calls.

    The same call has the same outcome: what Envoy decides by chance are shares of it.
    """
    walk = Walk(served, call)
    try:
        _walk(walk)
    except CannotTell as error:
        walk.finish(End("unknown", details=str(error)), 1.0, Step("simulator", "", f"does not know {error}"))
    return Outcome(tuple(walk.shares), tuple(walk.doubts))


def _walk(walk: Walk) -> None:
    if bypasses(walk):
        why = "a workload's calls to itself are not redirected"
        walk.finish(End("bypass"), 1.0, Step("redirection", walk.call.address, why))
        return
    taken = take(walk)
    if taken is None:
        why = f"nobody listens at {walk.call.address}:{walk.call.port}"
        walk.finish(End("closed", details="connection refused"), 1.0, Step("listener", "", why))
        return
    if taken.refused:
        step = Step("listener filter", taken.listener.name, taken.refused)
        walk.finish(End("closed", details=taken.refused), 1.0, step)
        return
    if taken.waiting:
        walk.finish(
            End("waits"), 1.0, Step("listener", taken.listener.name, "waits for the client, which waits")
        )
        return
    chain, why = find_chain(taken.listener, taken.connection)
    if chain is None:
        end = End("closed", None, "NR", "filter_chain_not_found")
        walk.finish(end, 1.0, Step("filter chain", "", why))
        return
    walk.step("filter chain", chain.name, why, config_of(chain.metadata))
    pass_chain(walk, chain, taken.connection)


def onward(end: End, host: Host, call: Call, identity: str = "") -> Call | None:
    """What arrives at the proxy of a host, of a call that goes on to it; None where it has no IP address.

    `identity` is the SPIFFE ID of the proxy that calls.  The address of the client is left as it was: which
    one the proxy's connections come from, the configuration does not tell.
    """
    address, _, port = host.address.rpartition(":")
    if not is_address(address):
        return None
    http = None
    if end.kind == "http" and call.http is not None:
        http = Http(end.path, end.authority, call.http.method, end.headers, end.http2, call.http.token)
    tls = call.tls if host.tls is None and end.kind == "tcp" else None
    if host.tls is not None:
        tls = Tls(host.tls.sni, host.tls.alpn, identity if host.tls.identity else "")
    return Call(address, int(port), http, tls, "inbound", call.source, call.silent)
