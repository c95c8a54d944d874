"""virtualInbound under PeerAuthentication: what becomes of each kind of connection to each kind of port.

The chain is picked as Envoy picks it: by port, then by transport, then by ALPN in the caller's order, and
never back; only where a port has no chain of its own do the chains without a port count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from controlplane.envoy import pb
from controlplane.envoy.guard import Guard
from controlplane.envoy.inbound_tls import CLOSED, DISABLE, PERMISSIVE, STRICT, InboundTls, inbound_tls
from controlplane.envoy.listeners_inbound import Port, virtual_inbound
from controlplane.mesh.peer_authentication import PeerModes
from controlplane.mesh.settings import MeshTls
from tests.unit.envoy.test_listeners import inspectors, to
from tests.unit.mesh.world import World

MESH = MeshTls(("cluster.local",))


class Call(NamedTuple):
    """A connection: TLS or not, what it offers by ALPN, and whether it is HTTP that an inspector knows."""

    tls: bool
    alpn: tuple[str, ...] = ()
    http: bool = False


CALLS = {
    "mesh http": Call(True, ("istio-http/1.1", "istio")),
    "mesh http2": Call(True, ("istio-h2", "istio", "h2")),
    "mesh tcp": Call(True, ("istio",)),
    "own tls": Call(True),
    "browser": Call(True, ("h2", "http/1.1")),
    "http": Call(False, http=True),
    "bytes": Call(False),
}


def listener(ports: tuple[tuple[int, str], ...], tls: InboundTls) -> Any:
    found = World().read(virtual_inbound, tuple(Port(*one) for one in ports), Guard(tls))
    return pb.listener.Listener.FromString(found.body)


def looks(found: Any, inspector: str, port: int) -> bool:
    """Whether this inspector looks at connections to the port."""
    for one in found.listener_filters:
        if one.name.endswith(inspector):
            rules = one.filter_disabled.or_match.rules or [one.filter_disabled]
            return all(
                not r.destination_port_range.start <= port < r.destination_port_range.end for r in rules
            )
    return False


def pick(found: Any, port: int, call: Call) -> Any | None:
    """The chain that Envoy takes; None = refused."""
    tls = call.tls and looks(found, "tls_inspector", port)
    transport = "tls" if tls else "raw_buffer"
    seen = call.http and not call.tls and looks(found, "http_inspector", port)
    alpn = call.alpn if tls else ("http/1.1",) if seen else ()
    own = [c for c in found.filter_chains if c.filter_chain_match.destination_port.value == port]
    chains = own or [c for c in found.filter_chains if not c.filter_chain_match.destination_port.value]
    named = [c for c in chains if c.filter_chain_match.transport_protocol == transport]
    chains = named or [c for c in chains if not c.filter_chain_match.transport_protocol]
    for name in alpn:
        for chain in chains:
            if name in chain.filter_chain_match.application_protocols:
                return chain
    rest = [chain for chain in chains if not chain.filter_chain_match.application_protocols]
    if rest:
        (only,) = rest
        return only
    return found.default_filter_chain if found.HasField("default_filter_chain") else None


def outcome(found: Any, port: int, call: Call) -> str:
    chain = pick(found, port, call)
    if chain is None:
        return "refused"
    where = to(chain)
    if where == "BlackHoleCluster":
        return "hung up"
    end = "http" if where.startswith("rds ") else "tcp"
    return f"m {end}" if chain.HasField("transport_socket") else f"p {end}"


def outcomes(found: Any, port: int) -> dict[str, str]:
    return {name: outcome(found, port, call) for name, call in CALLS.items()}


def row(text: str) -> dict[str, str]:
    """Outcomes by call; m is mutual TLS, p plaintext."""
    return dict(zip(CALLS, (cell.strip() for cell in text.split("|")), strict=True))


# fmt: off
MATRIX = [
    # mode                    mesh h1 | mesh h2 | mesh tcp| own tls | browser | http    | bytes
    ("HTTP", DISABLE,     "p http  | p http  | p http  | p http  | p http  | p http  | p http"),
    ("HTTP", PERMISSIVE,  "m http  | m http  | m http  | refused | refused | p http  | p http"),
    ("HTTP", STRICT,      "m http  | m http  | m http  | m http  | m http  | refused | refused"),
    ("HTTP", CLOSED,      "hung up | hung up | hung up | hung up | hung up | hung up | hung up"),
    ("TCP", DISABLE,      "p tcp   | p tcp   | p tcp   | p tcp   | p tcp   | p tcp   | p tcp"),
    ("TCP", PERMISSIVE,   "m tcp   | m tcp   | m tcp   | p tcp   | p tcp   | p tcp   | p tcp"),
    ("TCP", STRICT,       "m tcp   | m tcp   | m tcp   | m tcp   | m tcp   | refused | refused"),
    ("TCP", CLOSED,       "hung up | hung up | hung up | hung up | hung up | hung up | hung up"),
    ("AUTO", DISABLE,     "p tcp   | p tcp   | p tcp   | p tcp   | p tcp   | p http  | p tcp"),
    ("AUTO", PERMISSIVE,  "m http  | m http  | m tcp   | p tcp   | p tcp   | p http  | p tcp"),
    ("AUTO", STRICT,      "m http  | m http  | m tcp   | m tcp   | m tcp   | refused | refused"),
    ("AUTO", CLOSED,      "hung up | hung up | hung up | hung up | hung up | hung up | hung up"),
]
# fmt: on


def modes(default: str, *ports: tuple[int, str]) -> InboundTls:
    encrypted = any(mode in (PERMISSIVE, STRICT) for mode in (default, *dict(ports).values()))
    return InboundTls(default, ports, MESH if encrypted else None)


@pytest.mark.parametrize("others", [DISABLE, PERMISSIVE, STRICT, CLOSED])
@pytest.mark.parametrize(("protocol", "mode", "expected"), MATRIX)
def test_a_port(protocol: str, mode: str, expected: str, others: str) -> None:
    """Whatever the mode of the other ports is."""
    tls = modes(mode) if mode == others else modes(others, (8080, mode))
    found = listener(((8080, protocol), (9090, "HTTP")), tls)
    assert outcomes(found, 8080) == row(expected)


@pytest.mark.parametrize("other", [DISABLE, PERMISSIVE, STRICT, CLOSED])
@pytest.mark.parametrize("mode", [DISABLE, PERMISSIVE, STRICT, CLOSED])
def test_a_port_without_a_service_is_found_out(mode: str, other: str) -> None:
    """It has the workload's mode, whatever that of some port is, or its own, which only a policy names."""
    expected = next(row(text) for protocol, known, text in MATRIX if (protocol, known) == ("AUTO", mode))
    if mode == CLOSED and other != CLOSED:
        expected = dict.fromkeys(expected, "refused")
    unnamed = listener(((8080, "TCP"),), modes(mode) if mode == other else modes(mode, (8080, other)))
    if (mode, other) != (CLOSED, CLOSED):
        assert outcomes(unnamed, 7777) == expected
    else:
        assert set(outcomes(unnamed, 7777).values()) == {"refused"}
    named = listener(((8080, "TCP"),), modes(mode) if mode == other else modes(other, (7777, mode)))
    if mode == CLOSED and other != CLOSED:
        expected = dict.fromkeys(expected, "hung up")
    if (mode, other) != (CLOSED, CLOSED):
        assert outcomes(named, 7777) == expected


def test_no_default_chain_takes_what_a_ports_own_refuse() -> None:
    assert listener(((8080, "TCP"),), modes(DISABLE)).HasField("default_filter_chain")
    for tls in (modes(PERMISSIVE), modes(STRICT), modes(CLOSED), modes(DISABLE, (8080, STRICT))):
        assert not listener(((8080, "TCP"),), tls).HasField("default_filter_chain")


def test_flipping_to_strict_leaves_connections_of_the_mesh_alone() -> None:
    """Envoy drains the connections of chains that are not in the new listener word for word."""
    ports = ((8080, "HTTP"), (9090, "TCP"), (7000, "AUTO"))
    before, after = (listener(ports, modes(mode)) for mode in (PERMISSIVE, STRICT))
    mutual = [chain for chain in before.filter_chains if "-mtls" in chain.name]
    assert len(mutual) == 6
    for chain in mutual:
        assert chain in after.filter_chains
    # A change of anything but chains would replace the listener as a whole.
    del before.filter_chains[:], after.filter_chains[:]
    assert before == after


def test_nothing_is_inspected_for_tls_that_takes_none() -> None:
    assert inspectors(listener(((8080, "TCP"),), modes(DISABLE))) == ["original_dst", "http_inspector"]
    found = listener(((8080, "TCP"), (3306, "MYSQL")), modes(PERMISSIVE, (3306, DISABLE), (5000, DISABLE)))
    assert inspectors(found) == ["original_dst", "tls_inspector", "http_inspector"]
    assert [looks(found, "tls_inspector", port) for port in (8080, 3306, 5000, 7777)] == [
        True,
        False,
        False,
        True,
    ]


def context(mesh: MeshTls = MESH) -> Any:
    tls = InboundTls(STRICT, (), mesh)
    chain = next(c for c in listener(((8080, "HTTP"),), tls).filter_chains if c.name == "0.0.0.0_8080-mtls")
    found = pb.tls.DownstreamTlsContext()
    assert chain.transport_socket.typed_config.Unpack(found)
    return found


def test_the_context_of_mutual_tls() -> None:
    found = context()
    assert found.require_client_certificate.value
    # Resumed, a session would outlive the certificate that it was begun with.
    assert found.disable_stateful_session_resumption
    assert found.disable_stateless_session_resumption
    common = found.common_tls_context
    assert not any("istio" in name for name in common.alpn_protocols)
    assert list(common.alpn_protocols) == ["h2", "http/1.1"]
    assert [one.name for one in common.tls_certificate_sds_secret_configs] == ["default"]
    combined = common.combined_validation_context
    assert combined.validation_context_sds_secret_config.name == "ROOTCA"
    (name,) = combined.default_validation_context.match_typed_subject_alt_names
    assert (name.san_type, name.matcher.prefix) == (
        pb.tls_common.SubjectAltNameMatcher.URI,
        "spiffe://cluster.local/",
    )
    versions = pb.tls_common.TlsParameters
    assert common.tls_params.tls_minimum_protocol_version == versions.TLSv1_2
    assert common.tls_params.tls_maximum_protocol_version == versions.TLSv1_3


def test_what_the_mesh_says_of_it() -> None:
    found = context(MeshTls(("a.org", "b.org"), "TLSV1_3", ("ECDHE-RSA-AES128-GCM-SHA256",), ("P-256",)))
    common = found.common_tls_context
    names = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
    # The slash keeps a.org.evil out.
    assert [name.matcher.prefix for name in names] == ["spiffe://a.org/", "spiffe://b.org/"]
    assert common.tls_params.tls_minimum_protocol_version == pb.tls_common.TlsParameters.TLSv1_3
    assert list(common.tls_params.cipher_suites) == ["ECDHE-RSA-AES128-GCM-SHA256"]
    assert list(common.tls_params.ecdh_curves) == ["P-256"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (PeerModes("PERMISSIVE"), InboundTls()),
        (PeerModes("DISABLE"), InboundTls()),
        (PeerModes("PERMISSIVE", ((1, "DISABLE"),)), InboundTls()),
        (PeerModes("STRICT", ((1, "PERMISSIVE"),)), InboundTls(CLOSED, ((1, DISABLE),))),
        (PeerModes("DISABLE", ((1, "STRICT"),)), InboundTls(DISABLE, ((1, CLOSED),))),
    ],
)
def test_without_a_certificate_what_would_be_mutual_tls_is_plaintext_or_nothing(
    said: PeerModes, expected: InboundTls
) -> None:
    assert inbound_tls(said, MESH, identified=False) == expected
    certified = inbound_tls(said, MESH, identified=True)
    assert (certified.default, certified.ports) == (said.default, said.ports)
    assert certified.encrypted == (said != PeerModes("DISABLE"))
