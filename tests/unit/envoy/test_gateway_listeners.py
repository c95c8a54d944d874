"""Where a gateway listens, with which certificates, and who has to stand back."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import LISTENER, SECRET
from controlplane.mesh.checks import checks
from controlplane.mesh.features import FEATURES, Features, feature_rows
from controlplane.mesh.gateways import Socket, served
from controlplane.mesh.proxies import proxy_view
from controlplane.model.identity import Identity
from controlplane.model.proxy import parse_node
from tests.support.servers import Issuer, Pair
from tests.unit.envoy.edges import NODE, Edge, gateway, http, https, manager_of
from tests.unit.mesh.world import service

ALL = "['*']"


def simple(credential: str) -> str:
    return f"{{mode: SIMPLE, credentialName: {credential!r}}}"


SHOP = simple("shop")


@cache
def pair(name: str = "shop") -> Pair:
    return Issuer().issue(f"{name}.example.com")


class Identified(Edge):
    """A gateway with an identity, and so with secrets."""

    def view_of(self, **metadata: Any) -> Any:
        proxy = parse_node(NODE, {"NAMESPACE": "edge", "LABELS": {"istio": "gw"}, **metadata})
        identity = Identity("cluster.local", "edge", "ingress")
        return self.read(proxy_view, replace(proxy, identity=identity))

    def chains(self, name: str = "0.0.0.0_443") -> dict[str, Any]:
        """Route configuration -> chain."""
        found = self.listeners().get(name)
        return {} if found is None else {chain.name: chain for chain in found.filter_chains}

    def socket(self, chain: str, name: str = "0.0.0.0_443") -> Any:
        """The TLS context of a chain."""
        config = self.chains(name)[chain].transport_socket.typed_config
        return pb.tls.DownstreamTlsContext.FromString(config.value)


def in_front(ports: str, **more: str) -> str:
    """A Service whose pods are the gateway's."""
    return service("gw", ports, namespace="edge", **more).replace("app: gw", "istio: gw")


def test_one_listener_for_all_plaintext_servers_of_a_port() -> None:
    world = Edge(
        gateway("a", f"[{http(ALL)}]")
        + gateway("b", "[{port: {number: 80, name: rpc, protocol: GRPC}, hosts: [b.com]}]")
    )
    (listener,) = world.listeners().values()
    assert listener.name == "0.0.0.0_80"
    assert (listener.address.socket_address.address, listener.address.socket_address.port_value) == (
        "0.0.0.0",
        80,
    )
    (chain,) = listener.filter_chains
    manager = manager_of(chain.filters[0])
    assert manager.rds.route_config_name == "http.80"
    assert manager.use_remote_address.value
    assert manager.forward_client_cert_details == pb.hcm.HttpConnectionManager.SANITIZE_SET
    assert not listener.HasField("bind_to_port")


def test_what_stands_in_front_of_a_gateway_is_believed_if_the_operator_says_so() -> None:
    world = Edge(gateway("web", f"[{http(ALL)}]"))

    def believed() -> tuple[int, str, bool]:
        (chain,) = world.listeners()["0.0.0.0_80"].filter_chains
        manager = manager_of(chain.filters[0])
        details = pb.hcm.HttpConnectionManager.ForwardClientCertDetails
        said = details.Name(manager.forward_client_cert_details)
        return manager.xff_num_trusted_hops, said, manager.use_remote_address.value

    assert believed() == (0, "SANITIZE_SET", True)
    topology = "{numTrustedProxies: 2, forwardClientCertDetails: APPEND_FORWARD}"
    world.apply(f"kind: MeshConfig\ndefaultConfig: {{gatewayTopology: {topology}}}\n")
    assert believed() == (2, "APPEND_FORWARD", True)
    assert not [key for key in world.map(checks) if key.kind == "MeshConfig"]


def test_a_gateway_elsewhere_says_nothing() -> None:
    other = gateway("a", f"[{http(ALL)}]").replace("istio: gw", "istio: other")
    assert Edge(other).listeners() == {}
    assert Edge(other.replace("  selector: {istio: other}\n", "")).listeners().keys() == {"0.0.0.0_80"}


def test_services_say_where_a_port_is() -> None:
    world = Edge(gateway("a", f"[{http(ALL)}, {http(ALL, 8090, 'other')}]"))
    assert world.listeners().keys() == {"0.0.0.0_80", "0.0.0.0_8090"}
    world.apply(in_front("http=80:8080", created="2024-01-02T00:00:00Z"))
    assert world.listeners().keys() == {"0.0.0.0_8080", "0.0.0.0_8090"}
    assert world.routes().keys() == {"http.8080", "http.8090"}
    # The oldest Service says it, unless it says that it says nothing.
    older = in_front("http=80:8081", created="2024-01-01T00:00:00Z").replace("name: gw,", "name: older,")
    world.apply(older)
    assert world.listeners().keys() == {"0.0.0.0_8081", "0.0.0.0_8090"}
    label = "labels: {experimental.istio.io/disable-gateway-port-translation: 'true'}, namespace:"
    world.apply(older.replace("namespace:", label, 1))
    assert world.listeners().keys() == {"0.0.0.0_8080", "0.0.0.0_8090"}


def test_a_server_may_have_an_address() -> None:
    world = Edge(gateway("a", f"[{http(ALL, bind='10.0.0.9')}, {http(ALL, name='all')}]"))
    assert world.listeners().keys() == {"0.0.0.0_80", "10.0.0.9_80"}
    assert world.routes().keys() == {"http.80", "http.80.10.0.0.9"}


def test_ports_that_an_unprivileged_proxy_cannot_have() -> None:
    world = Edge(gateway("a", f"[{http(ALL)}, {http(ALL, 8080, 'other')}, {http(ALL, 15021, 'own')}]"))
    assert world.listeners().keys() == {"0.0.0.0_80", "0.0.0.0_8080"}
    assert world.listeners(UNPRIVILEGED_POD="true").keys() == {"0.0.0.0_8080"}


def test_a_chain_for_each_server_by_name() -> None:
    both = f"[{https('[a.com, ./b.com]', SHOP)}, {https(ALL, simple('any'), name='any')}]"
    world = Identified(gateway("web", both) + pair().secret("shop") + pair("any").secret("any"))
    assert {name: list(chain.filter_chain_match.server_names) for name, chain in world.chains().items()} == {
        "https.443.https.web.edge": ["a.com", "b.com"],
        "https.443.any.web.edge": [],
    }
    context = world.socket("https.443.https.web.edge")
    assert list(context.common_tls_context.alpn_protocols) == ["h2", "http/1.1"]
    (secret,) = context.common_tls_context.tls_certificate_sds_secret_configs
    assert secret.name == "kubernetes://shop"
    assert not context.require_client_certificate.value
    (inspector,) = world.listeners()["0.0.0.0_443"].listener_filters
    assert inspector.name == "envoy.filters.listener.tls_inspector"


def test_a_missing_credential_hurts_its_own_server_only() -> None:
    both = (
        f"[{https('[a.com]', SHOP)}, {https('[b.com]', '{mode: SIMPLE, credentialName: other}', name='b')}]"
    )
    world = Identified(gateway("web", both) + pair().secret("shop"))
    assert world.chains().keys() == {"https.443.https.web.edge"}
    world.apply(pair().secret("other", namespace="elsewhere"))
    assert world.chains().keys() == {"https.443.https.web.edge"}
    world.apply(pair().secret("other"))
    assert world.chains().keys() == {"https.443.https.web.edge", "https.443.b.web.edge"}
    world.delete("Secret", "shop", "edge")
    world.delete("Secret", "other", "edge")
    assert world.listeners() == {}


def test_a_renewed_credential_moves_no_listener() -> None:
    world = Identified(gateway("web", f"[{https('[a.com]', SHOP)}]") + pair().secret("shop"))
    before = world.resources(feeds(world.view_of())[LISTENER])
    with world.counting() as runs:
        world.apply(pair("another").secret("shop"))
        after = world.resources(feeds(world.view_of())[LISTENER])
    assert after["0.0.0.0_443"] is before["0.0.0.0_443"]
    assert not [name for name in runs if name.startswith("gateway_listeners")]


@pytest.mark.parametrize("name", ["elsewhere/shop", "../elsewhere/shop", "shop/..", "kubernetes://shop"])
def test_a_credential_is_a_name_and_no_path(name: str) -> None:
    secrets = pair().secret("shop") + pair().secret("shop", namespace="elsewhere")
    world = Identified(
        gateway("web", f"[{https('[a.com]', f'{{mode: SIMPLE, credentialName: {name!r}}}')}]") + secrets
    )
    assert world.listeners() == {}


def test_of_its_namespaces_secrets_a_gateway_is_given_what_its_gateways_name() -> None:
    tls = "{mode: MUTUAL, credentialName: shop}"
    both = pair().secret("shop", authorities=Issuer().certificate) + pair("other").secret("other")
    world = Identified(gateway("web", f"[{https('[a.com]', tls)}]") + both)

    def given() -> set[str]:
        return {name for name in world.resources(feeds(world.view_of())[SECRET]) if "://" in name}

    assert given() == {"kubernetes://shop", "kubernetes://shop-cacert"}
    elsewhere = gateway("web2", f"[{https('[b.com]', simple('other'))}]").replace("istio: gw", "istio: x")
    world.apply(elsewhere)
    assert given() == {"kubernetes://shop", "kubernetes://shop-cacert"}
    world.apply(elsewhere.replace("istio: x", "istio: gw"))
    assert given() == {"kubernetes://shop", "kubernetes://shop-cacert", "kubernetes://other"}
    world.delete("Gateway", "web", "edge")
    assert given() == {"kubernetes://other"}


def test_a_gateway_without_an_identity_has_no_secrets() -> None:
    world = Edge(gateway("web", f"[{https('[a.com]', SHOP)}, {http(ALL)}]") + pair().secret("shop"))
    assert world.listeners().keys() == {"0.0.0.0_80"}


@pytest.mark.parametrize(("mode", "required"), [("MUTUAL", True), ("OPTIONAL_MUTUAL", False)])
def test_clients_may_be_asked_for_certificates(mode: str, required: bool) -> None:
    tls = f"{{mode: {mode}, credentialName: shop, subjectAltNames: [client.example.com]}}"
    world = Identified(gateway("web", f"[{https('[a.com]', tls)}]") + pair().secret("shop"))
    # Without authorities nobody could be told from anybody: better no server than an open one.
    assert world.chains() == {}
    world.apply(pair().secret("shop", authorities=Issuer().certificate))
    context = world.socket("https.443.https.web.edge")
    assert context.require_client_certificate.value == required
    validation = context.common_tls_context.combined_validation_context
    assert validation.validation_context_sds_secret_config.name == "kubernetes://shop-cacert"
    (san,) = validation.default_validation_context.match_typed_subject_alt_names
    assert san.matcher.exact == "client.example.com"
    # Who brings a certificate is checked by it, in both modes.
    verified = pb.tls_common.CertificateValidationContext.VERIFY_TRUST_CHAIN
    assert validation.default_validation_context.trust_chain_verification == verified


def test_the_meshs_own_certificates_may_be_asked_for_by_name() -> None:
    tls = "{mode: ISTIO_MUTUAL}"
    narrowed = "subjectAltNames: ['spiffe://cluster.local/ns/a/sa/b'], minProtocolVersion: TLSV1_3"
    named = f"{{mode: ISTIO_MUTUAL, {narrowed}}}"
    world = Identified(gateway("web", f"[{https('[a.com]', tls)}, {https('[b.com]', named, name='b')}]"))
    seen = {}
    for chain in ("https.443.https.web.edge", "https.443.b.web.edge"):
        context = world.socket(chain)
        assert context.require_client_certificate.value
        common = context.common_tls_context
        assert [one.name for one in common.tls_certificate_sds_secret_configs] == ["default"]
        validation = common.combined_validation_context.default_validation_context
        (san,) = validation.match_typed_subject_alt_names
        seen[chain] = (common.tls_params.tls_minimum_protocol_version, san.matcher.prefix, san.matcher.exact)
    assert list(seen.values()) == [
        (3, "spiffe://cluster.local/", ""),
        (4, "", "spiffe://cluster.local/ns/a/sa/b"),
    ]


def test_parameters_that_envoy_does_not_know_are_left_out() -> None:
    tls = (
        "{mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_2, maxProtocolVersion: TLSV1_3,"
        " cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, NONSENSE, ECDHE-RSA-AES128-GCM-SHA256],"
        " ecdhCurves: [X25519, Y]}"
    )
    world = Identified(gateway("web", f"[{https('[a.com]', tls)}]") + pair().secret("shop"))
    params = world.socket("https.443.https.web.edge").common_tls_context.tls_params
    assert (params.tls_minimum_protocol_version, params.tls_maximum_protocol_version) == (3, 4)
    assert list(params.cipher_suites) == ["ECDHE-RSA-AES128-GCM-SHA256"]
    assert list(params.ecdh_curves) == ["X25519"]


def test_certificates_may_be_files_of_the_proxy() -> None:
    tls = "{mode: MUTUAL, serverCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem}"
    world = Identified(gateway("web", f"[{https('[a.com]', tls)}]"))
    common = world.socket("https.443.https.web.edge").common_tls_context
    (files,) = common.tls_certificates
    assert (files.certificate_chain.filename, files.private_key.filename) == ("/c.pem", "/k.pem")
    assert common.validation_context.trusted_ca.filename == "/ca.pem"


# -- conflicts ------------------------------------------------------------------------------------------


def refused(world: Edge, port: int) -> dict[str, str]:
    """Gateway -> why its server is refused."""
    scope = world.view_of().gateway
    assert scope is not None
    found = world.read(served, scope.edge, Socket("", port))
    return {one.server.name: one.why for one in found.refused}


OLD, NEW = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"


def test_the_older_protocol_has_the_port() -> None:
    secret = pair().secret("shop")
    plain, secure = f"[{http(ALL)}]", f"[{https('[a.com]', SHOP, 80)}]"
    world = Identified(gateway("z", plain, created=OLD) + gateway("a", secure, created=NEW) + secret)
    assert world.routes().keys() == {"http.80"}
    assert refused(world, 80) == {"a": "Gateway edge/z speaks plaintext HTTP on this port"}
    world.apply(gateway("a", secure, created="2023-01-01T00:00:00Z"))
    assert world.routes().keys() == {"https.80.https.a.edge"}
    assert refused(world, 80) == {"z": "Gateway edge/a speaks TLS on this port"}


def test_a_name_belongs_to_the_first() -> None:
    first = gateway("z", f"[{https('[a.com, b.com]', SHOP)}]", created=OLD)
    second = gateway("a", f"[{https('[other/b.com, c.com]', SHOP)}]", created=NEW)
    world = Identified(first + second + pair().secret("shop"))
    assert world.chains().keys() == {"https.443.https.z.edge"}
    assert refused(world, 443) == {"a": "Gateway edge/z serves b.com on this port"}
    world.apply(gateway("a", f"[{https('[c.com]', SHOP)}]", created=NEW))
    assert world.chains().keys() == {"https.443.https.z.edge", "https.443.https.a.edge"}


@pytest.mark.parametrize(
    ("server", "effect"),
    [
        ("{port: {number: 90, name: p, protocol: HTTP_PROXY}, hosts: ['*']}", True),
        ("{port: {number: 90, name: p, protocol: TLS}, hosts: ['*'], tls: {mode: AUTO_PASSTHROUGH}}", True),
        ("{port: {number: 90, name: p, protocol: TLS}, hosts: [b.c], tls: {mode: AUTO_PASSTHROUGH}}", False),
        ("{port: {number: 90, name: p, protocol: TCP}, hosts: ['*']}", True),
        ("{port: {number: 90, name: p, protocol: HTTP2}, hosts: ['*']}", True),
    ],
)
def test_what_was_there_before_stands_in_the_way(server: str, effect: bool) -> None:
    world = Identified(
        gateway("early", f"[{server}]", created=OLD)
        + gateway("late", f"[{https(ALL, SHOP, 90)}]", created=NEW)
        + pair().secret("shop")
    )
    assert ("https.90.https.late.edge" in world.chains("0.0.0.0_90")) != effect


def test_one_server_among_many_makes_one_chain() -> None:
    world = Identified(
        "".join(gateway(f"g{n}", f"[{https(f'[h{n}.com]', SHOP)}]") for n in range(20))
        + pair().secret("shop")
    )
    assert len(world.chains()) == 20
    with world.counting() as runs:
        world.apply(gateway("g7", f"[{https('[new.com]', SHOP)}]"))
        assert len(world.chains()) == 20
    assert runs["gateway_listeners._secure_chain"] == 1


def test_a_server_may_listen_on_a_unix_socket() -> None:
    servers = "[{port: {number: 0, name: http, protocol: HTTP}, bind: 'unix://@edge', hosts: ['*']}]"
    world = Edge(gateway("web", servers))
    (listener,) = world.listeners(UNPRIVILEGED_POD="true").values()
    assert listener.name == "unix://@edge_0"
    assert listener.address.pipe.path == "@edge"
    assert set(world.routes()) == {"http.0.unix://@edge"}


def test_gateways_listen_with_the_addresses_that_they_have() -> None:
    world = Edge(WEB_AND_OWN)

    def addresses(**metadata: str) -> dict[str, list[str]]:
        found = world.listeners(**metadata)
        return {
            name: [
                listener.address.socket_address.address,
                *(one.address.socket_address.address for one in listener.additional_addresses),
            ]
            for name, listener in found.items()
        }

    own = {"10.0.0.9_81": ["10.0.0.9"]}
    assert addresses() == {"0.0.0.0_80": ["0.0.0.0"], **own}
    assert addresses(INSTANCE_IPS="fd00::9") == {"::_80": ["::"], **own}
    assert addresses(INSTANCE_IPS="10.0.0.9,fd00::9") == {"0.0.0.0_80": ["0.0.0.0"], **own}
    world.graph.commit([(feature_rows, FEATURES, Features(dual_stack=True))])
    assert addresses(INSTANCE_IPS="10.0.0.9,fd00::9") == {"0.0.0.0_80": ["0.0.0.0", "::"], **own}


WEB_AND_OWN = gateway("web", f"[{http(ALL)}, {http(ALL, 81, name='own', bind='10.0.0.9')}]")
