"""Which listener takes a connection, and what its listener filters find out about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from controlplane.base.errors import MiniIstiodError
from controlplane.sim.call import Call
from controlplane.sim.chains import UNIX, Connection
from controlplane.sim.walk import CannotTell, Walk, kind_of, unpacked

_ANY = ("0.0.0.0", "::")
_INBOUND, _OUTBOUND = 1, 2
_FILTERS = "envoy.extensions.filters.listener."


class Taken(NamedTuple):
    """A listener and what it knows of the connection; `waiting`: its filters wait for a client to begin.

    `refused` says why a listener filter closes the connection, "" where none does.
    """

    listener: Any
    connection: Connection
    waiting: bool = False
    refused: str = ""


class _Refused(MiniIstiodError):
    """A listener filter closes the connection."""


def bypasses(walk: Walk) -> bool:
    """Whether the redirection leaves the call alone: what a workload says to itself."""
    call = walk.call
    if call.way != "outbound":
        return False
    return call.address.startswith("127.") or call.address in walk.served.addresses


def take(walk: Walk) -> Taken | None:
    """The listener of a call, None where nobody listens."""
    listener = _find(walk)
    if listener is None:
        return None
    return _inspect(walk, listener)


def _find(walk: Walk) -> Any | None:
    call = walk.call
    if call.way == "direct":
        found = _at(walk, call)
        if found is not None:
            walk.step("listener", found.name, f"listens at {call.address}:{call.port}")
        return found
    direction = _INBOUND if call.way == "inbound" else _OUTBOUND
    catcher = next((one for one in _sorted(walk) if _catches(one, direction)), None)
    if catcher is None or not catcher.use_original_dst.value:
        if catcher is not None:
            walk.step("listener", catcher.name, f"takes what is redirected {call.way}")
        return catcher
    found = _at(walk, call)
    if found is None or found is catcher:
        walk.step("listener", catcher.name, f"nobody has {call.address}:{call.port} or its port")
        return catcher
    walk.step("listener", found.name, f"{catcher.name} hands on what was sent to {call.address}:{call.port}")
    return found


def _sorted(walk: Walk) -> list[Any]:
    return [walk.served.listeners[name] for name in sorted(walk.served.listeners)]


def _catches(listener: Any, direction: int) -> bool:
    """Whether it is the one that the redirection leads to."""
    if listener.traffic_direction != direction:
        return False
    restores = any(
        _short(one.typed_config) == "original_dst.v3.OriginalDst" for one in listener.listener_filters
    )
    return bool(listener.use_original_dst.value) or (restores and direction == _INBOUND)


def _at(walk: Walk, call: Call) -> Any | None:
    """The listener of this very address, else the one of its port on every address."""
    for wanted in (call.address, *_ANY):
        for one in _sorted(walk):
            if any(_is(address, wanted, call.port) for address in _addresses(one)):
                return one
    return None


def _addresses(listener: Any) -> list[Any]:
    return [listener.address, *(one.address for one in listener.additional_addresses)]


def _is(address: Any, wanted: str, port: int) -> bool:
    if address.HasField("pipe"):
        return bool(UNIX + address.pipe.path == wanted)
    socket = address.socket_address
    return bool(socket.address == wanted and socket.port_value == port and socket.protocol == 0)


def _inspect(walk: Walk, listener: Any) -> Taken:
    """Run the listener filters."""
    call = walk.call
    seen = Connection(call.address, call.port, call.source)
    waiting = False
    if call.announced and not any(_reads_announcements(one) for one in listener.listener_filters):
        raise CannotTell("PROXY protocol towards a listener that does not read it")
    for one in listener.listener_filters:
        if _disabled(one.filter_disabled, call):
            walk.step("listener filter", one.name, f"is off for port {call.port}")
            continue
        play = _INSPECTORS.get(_short(one.typed_config))
        if play is None:
            walk.doubt("listener filter", one.name, "is not simulated")
        elif play is not _nothing and call.silent and call.tls is None:
            waiting = True
            walk.step("listener filter", one.name, "waits for the client to begin")
        else:
            try:
                seen = play(walk, one, seen)
            except _Refused as refused:
                return Taken(listener, seen, refused=str(refused))
    return Taken(listener, seen, waiting and not _ends_waiting(listener))


def _reads_announcements(one: Any) -> bool:
    return _short(one.typed_config) == "proxy_protocol.v3.ProxyProtocol"


def _ends_waiting(listener: Any) -> bool:
    """Whether it stops waiting some time and goes on without having found out anything."""
    limit = listener.listener_filters_timeout
    endless = listener.HasField("listener_filters_timeout") and not limit.seconds and not limit.nanos
    return bool(listener.continue_on_listener_filters_timeout) and not endless


def _short(config: Any) -> str:
    return kind_of(config).removeprefix(_FILTERS)


def _disabled(predicate: Any, call: Call) -> bool:
    """config.listener.v3.ListenerFilterChainMatchPredicate; one that says nothing disables nothing."""
    how = predicate.WhichOneof("rule")
    if how == "destination_port_range":
        return bool(
            predicate.destination_port_range.start <= call.port < predicate.destination_port_range.end
        )
    if how == "or_match":
        return any(_disabled(one, call) for one in predicate.or_match.rules)
    if how == "and_match":
        return all(_disabled(one, call) for one in predicate.and_match.rules)
    if how == "not_match":
        return not _disabled(predicate.not_match, call)
    return bool(how == "any_match")


def _nothing(_walk: Walk, _filter: Any, seen: Connection) -> Connection:
    return seen


def _tls(walk: Walk, found: Any, seen: Connection) -> Connection:
    tls = walk.call.tls
    if tls is None:
        walk.step("listener filter", found.name, "sees no TLS")
        return seen
    asked = f"asks for {tls.sni or 'no name'}" + (f", offers {', '.join(tls.alpn)}" if tls.alpn else "")
    walk.step("listener filter", found.name, f"sees TLS that {asked}")
    return replace(seen, transport="tls", sni=tls.sni.lower(), alpn=tls.alpn)


def _http(walk: Walk, found: Any, seen: Connection) -> Connection:
    call = walk.call
    if seen.transport == "tls":
        return seen
    if call.tls is not None or call.http is None:
        walk.step("listener filter", found.name, "sees no HTTP")
        return seen
    version = "h2c" if call.http.http2 else "http/1.1"
    walk.step("listener filter", found.name, f"sees {version}")
    return replace(seen, alpn=(version,))


def _announced(walk: Walk, found: Any, seen: Connection) -> Connection:
    config = unpacked(found.typed_config)
    announced = walk.call.announced
    if announced:
        walk.step("listener filter", found.name, f"is told that {announced} calls")
        return replace(seen, source=announced, direct=seen.source)
    if config is None or not config.allow_requests_without_proxy_protocol:
        raise _Refused("it is not told first who calls (PROXY protocol)")
    walk.step("listener filter", found.name, "is told nothing")
    return seen


_INSPECTORS: dict[str, Callable[[Walk, Any, Connection], Connection]] = {
    "original_dst.v3.OriginalDst": _nothing,
    "original_src.v3.OriginalSrc": _nothing,
    "tls_inspector.v3.TlsInspector": _tls,
    "http_inspector.v3.HttpInspector": _http,
    "proxy_protocol.v3.ProxyProtocol": _announced,
}
