"""Which listener takes a call, what is found out about it, and how its TLS ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import EXTENSION
from controlplane.sim import Call, End, Http, Outcome, Served, Tls, simulate
from tests.unit.sim.messages import listener, manager, route_configuration, static, tcp

_EXT = "type.googleapis.com/envoy.extensions."
ORIGINAL = {"name": "dst", "typed_config": {"@type": f"{_EXT}filters.listener.original_dst.v3.OriginalDst"}}
TLS = {"name": "tls", "typed_config": {"@type": f"{_EXT}filters.listener.tls_inspector.v3.TlsInspector"}}
HTTP = {"name": "http", "typed_config": {"@type": f"{_EXT}filters.listener.http_inspector.v3.HttpInspector"}}
WEB = Http("/", "a.test")


def at(address: str, port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": address, "port_value": port}}}


def chain(to: str, **match: Any) -> dict[str, Any]:
    return {"name": to, "filters": [tcp(to)], "filter_chain_match": match}


def sidecar(*listeners: Any) -> Served:
    catcher = listener(
        **at("0.0.0.0", 15001),
        use_original_dst=True,
        traffic_direction="OUTBOUND",
        filter_chains=[chain("loop", destination_port=15001), chain("strangers")],
    )
    named = {"virtualOutbound": catcher}
    for number, one in enumerate(listeners):
        one.name = f"l{number}"
        named[one.name] = one
    hosts = [
        {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}]}
    ]
    names = ("web", "own", "any", "strangers", "loop", "names", "mesh", "rest")
    clusters = {name: static(name, "10.1.0.1") for name in names}
    configuration = route_configuration(virtual_hosts=hosts)
    return Served(named, {"r": configuration}, clusters, addresses=frozenset({"10.0.0.9"}))


def end(served: Served, address: str = "10.0.0.1", port: int = 80, **more: Any) -> End:
    return simulate(served, Call(address, port, **more)).end


def test_the_listener_of_what_was_dialled() -> None:
    own = listener(**at("10.0.0.1", 80), filter_chains=[chain("own")])
    everywhere = listener(**at("0.0.0.0", 80), filter_chains=[chain("any")])
    served = sidecar(own, everywhere)
    assert end(served).cluster == "own"
    assert end(served, "10.0.0.2").cluster == "any"
    assert end(served, port=81).cluster == "strangers"
    assert end(served, port=15001).cluster == "loop"


def test_what_a_workload_says_to_itself() -> None:
    assert end(sidecar(), "127.0.0.1").kind == "bypass"
    assert end(sidecar(), "10.0.0.9").kind == "bypass"
    assert end(sidecar(), "10.0.0.1").kind == "tcp"


def test_nobody_listens() -> None:
    assert end(sidecar(), way="inbound").details == "connection refused"
    assert end(sidecar(), way="direct").details == "connection refused"


def sniffing(**more: Any) -> Served:
    chains = [
        {"filters": [manager()], "filter_chain_match": {"application_protocols": ["http/1.1", "h2c"]}},
        chain("names", server_names=["*.test"], transport_protocol="tls"),
    ]
    rest = {"default_filter_chain": chain("rest")}
    return sidecar(
        listener(**at("0.0.0.0", 80), filter_chains=chains, listener_filters=[TLS, HTTP], **rest, **more)
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"http": WEB}, "web"),
        ({"http": Http("/", "a.test", http2=True)}, "web"),
        ({}, "rest"),
        ({"tls": Tls("a.test")}, "names"),
        ({"tls": Tls("a.test"), "http": WEB}, "names"),
        ({"tls": Tls("b.example.com")}, "rest"),
        ({"tls": Tls("a.test"), "silent": True}, "names"),
    ],
)
def test_inspection(said: dict[str, Any], expected: str) -> None:
    assert end(sniffing(), **said).cluster == expected


def test_servers_that_speak_first() -> None:
    assert end(sniffing(), silent=True).kind == "waits"
    endless = {"listener_filters_timeout": "0s", "continue_on_listener_filters_timeout": True}
    assert end(sniffing(**endless), silent=True).kind == "waits"
    patient = {"listener_filters_timeout": "0.1s", "continue_on_listener_filters_timeout": True}
    assert end(sniffing(**patient), silent=True).cluster == "rest"


def test_inspectors_that_are_off_for_a_port() -> None:
    off = {"destination_port_range": {"start": 80, "end": 81}}
    found = listener(
        **at("0.0.0.0", 80), filter_chains=[chain("own")], listener_filters=[{**HTTP, "filter_disabled": off}]
    )
    served = sidecar(found)
    assert end(served, silent=True).cluster == "own"
    other = {"or_match": {"rules": [{"not_match": off}, {"destination_port_range": {"start": 1, "end": 2}}]}}
    found.listener_filters[0].filter_disabled.CopyFrom(
        listener(listener_filters=[{**HTTP, "filter_disabled": other}]).listener_filters[0].filter_disabled
    )
    assert end(sidecar(found), silent=True).kind == "waits"


def inbound(**validation: Any) -> Served:
    """Mutual TLS at port 80, and nothing else."""
    own = [{"name": "default", "sds_config": {"ads": {}}}]
    common = {"tls_certificate_sds_secret_configs": own, "validation_context": validation}
    context = {"@type": f"{_EXT}transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": common}
    socket = {"name": "tls", "typed_config": {**context, "require_client_certificate": True}}
    secured = {
        "filters": [tcp("mesh")],
        "transport_socket": socket,
        "filter_chain_match": {"destination_port": 80, "transport_protocol": "tls"},
    }
    found = listener(
        **at("0.0.0.0", 15006),
        traffic_direction="INBOUND",
        listener_filters=[ORIGINAL, TLS],
        filter_chains=[secured],
    )
    found.name = "virtualInbound"
    return Served(
        {"virtualInbound": found}, {}, {"mesh": static("mesh", "10.1.0.1")}, secrets=frozenset({"default"})
    )


WANTED = {
    "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]
}
CLIENT = "spiffe://cluster.local/ns/a/sa/b"


@pytest.mark.parametrize(
    ("tls", "kind", "why"),
    [
        (Tls("x", (), CLIENT), "tcp", ""),
        (Tls("x", (), "spiffe://other/ns/a/sa/b"), "closed", "no name that is asked for"),
        (Tls("x"), "closed", "no certificate"),
        (None, "closed", "filter_chain_not_found"),
    ],
)
def test_mutual_tls(tls: Tls | None, kind: str, why: str) -> None:
    found = end(inbound(**WANTED), way="inbound", tls=tls)
    assert found.kind == kind and why in found.details


def test_plaintext_where_tls_ends() -> None:
    served = inbound(**WANTED)
    served.listeners["virtualInbound"].filter_chains[0].filter_chain_match.Clear()
    found = end(served, way="inbound", http=WEB)
    assert found.kind == "closed" and "no TLS" in found.details


def test_a_certificate_that_is_not_there() -> None:
    served = inbound(**WANTED)
    missing = Served(served.listeners, {}, served.clusters, secrets=frozenset())
    assert "default" in end(missing, way="inbound", tls=Tls("x", (), CLIENT)).details


def test_http_where_none_is_spoken() -> None:
    served = sidecar(listener(**at("0.0.0.0", 80), filter_chains=[{"filters": [manager()]}]))
    for said in ({}, {"tls": Tls("a.test"), "http": WEB}):
        found = end(served, **said)  # type: ignore[arg-type]
        assert (found.kind, found.status, found.flags) == ("closed", 400, "DPE")
    assert end(served, silent=True).kind == "waits"


def test_filters_of_connections() -> None:
    rules = {
        "action": "DENY",
        "policies": {"p": {"permissions": [{"any": True}], "principals": [{"any": True}]}},
    }
    network = f"{_EXT}filters.network"
    refuses = {
        "name": "rbac",
        "typed_config": {"@type": f"{network}.rbac.v3.RBAC", "stat_prefix": "x", "rules": rules},
    }
    text = {"text_format_source": {"inline_string": "istio"}}
    value = {"object_key": "envoy.network.application_protocols", "format_string": text}
    note = {
        "name": "note",
        "typed_config": {"@type": f"{network}.set_filter_state.v3.Config", "on_new_connection": [value]},
    }
    by_name = {"name": "sni", "typed_config": {"@type": f"{network}.sni_cluster.v3.SniCluster"}}

    def through(*filters: Any, **said: Any) -> Outcome:
        found = listener(
            **at("0.0.0.0", 80), filter_chains=[{"filters": list(filters)}], listener_filters=[TLS]
        )
        return simulate(sidecar(found), Call("10.0.0.1", 80, **said))

    assert "p" in through(refuses, tcp("own")).end.details
    assert through(note, tcp("own")).end.cluster == "own"
    assert through(by_name, tcp("own"), tls=Tls("names")).end.cluster == "names"
    unknown = {"name": "wasm", "typed_config": {"@type": f"{network}.echo.v3.Echo"}}
    assert "wasm" in through(unknown, tcp("own")).doubts[0]
    assert through(unknown).end.kind == "unknown"


def test_who_is_announced() -> None:
    kind = f"{_EXT}filters.listener.proxy_protocol.v3.ProxyProtocol"
    pb.find(kind.rpartition("/")[2])
    near = [{"address_prefix": "192.0.2.0", "prefix_len": 24}]

    def asked(allow: bool, announced: str) -> End:
        reads = {
            "name": "proxy",
            "typed_config": {"@type": kind, "allow_requests_without_proxy_protocol": allow},
        }
        chains = [chain("own", source_prefix_ranges=near), chain("any")]
        found = listener(**at("10.0.0.1", 80), filter_chains=chains, listener_filters=[reads])
        return end(sidecar(found), announced=announced)

    assert asked(False, "192.0.2.7").cluster == "own"
    assert asked(True, "").cluster == "any"
    refused = asked(False, "")
    assert refused.kind == "closed" and "PROXY" in refused.details
    deaf = listener(**at("10.0.0.1", 80), filter_chains=[chain("own")])
    assert end(sidecar(deaf), announced="192.0.2.7").kind == "unknown"


def test_sockets_in_the_file_system() -> None:
    near = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
    chains = [chain("own", prefix_ranges=near), chain("any")]
    found = listener(address={"pipe": {"path": "/run/app.sock"}}, filter_chains=chains)
    assert end(sidecar(found), "unix:/run/app.sock", 0, way="direct").cluster == "any"


def test_an_address_that_is_none() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Call("a.test", 80)


def test_filters_by_ecds() -> None:
    late = {"name": "late", "config_discovery": {"config_source": {"ads": {}}, "type_urls": ["x"]}}
    served = sidecar(listener(**at("0.0.0.0", 80), filter_chains=[{"filters": [manager(late)]}]))
    assert "late" in simulate(served, Call("10.0.0.1", 80, WEB)).doubts[0]
    rules = {"@type": f"{_EXT}filters.http.rbac.v3.RBAC", "rules": {"action": "ALLOW"}}
    extension = pb.from_dump(EXTENSION, {"name": "late", "typed_config": rules})
    assert (
        simulate(replace(served, extensions={"late": extension}), Call("10.0.0.1", 80, WEB)).end.status == 403
    )
