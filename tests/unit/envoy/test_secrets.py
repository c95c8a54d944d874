"""Secrets: each proxy its own key, one bundle of roots for all, and versions that tell nothing of a key."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.gateway_tls import credential_secrets
from controlplane.envoy.resource import Resource
from controlplane.envoy.secrets import (
    DEFAULT,
    ROOT_CA,
    certificates,
    gateway_secrets,
    root_secrets,
    roots,
    secret_maps,
    workload_secrets,
)
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from controlplane.graph import Delta, Graph, Lease
from controlplane.mesh.projections import Edge, GatewayScope, Inbound, ProxyView, RouteScope, Scope
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.model.identity import Holder, Identity
from controlplane.model.keys import Key
from controlplane.model.kinds import secrets
from controlplane.model.kinds.secret import Secret
from controlplane.model.meta import Meta

SLEEP = Identity("cluster.local", "foo", "sleep")
ONE, TWO = Holder(SLEEP, "sleep-1.foo"), Holder(SLEEP, "sleep-2.foo")
CHAIN, KEY = b"the chain\n", b"the key\n"


def certified(serial: str = "0a", not_after: float = 2000.5, key: bytes = KEY) -> Certified:
    return Certified(CHAIN + serial.encode(), key, serial, 1000.0, not_after)


class World:
    """A graph with leases on the secrets of two proxies."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.one = self.graph.lease(workload_secrets, ONE)
        self.two = self.graph.lease(workload_secrets, TWO)
        self.roots = self.graph.lease(root_secrets)
        self.graph.settle()

    def put(self, holder: Holder, value: Certified | None) -> None:
        self.graph.commit([(certificates, holder, value)])
        self.graph.settle()

    def trust(self, *pems: bytes) -> None:
        self.graph.commit([(roots, ROOT_CA, TrustBundle(pems))])
        self.graph.settle()


def only(lease: Lease) -> Resource:
    (name,) = lease.keys()
    found: Resource = lease.get(name)
    assert found.name == name
    return found


def message(found: Resource) -> Any:
    return pb.secret.Secret.FromString(found.body)


def test_a_certificate_is_served_to_its_holder_alone() -> None:
    world = World()
    assert not world.one.keys() and not world.roots.keys()
    world.put(ONE, certified())
    found = message(only(world.one))
    assert found.name == DEFAULT == "default"
    assert found.tls_certificate.certificate_chain.inline_bytes == CHAIN + b"0a"
    assert found.tls_certificate.private_key.inline_bytes == KEY
    assert not world.two.keys()


def test_a_version_is_of_serial_and_expiry_and_not_of_the_key() -> None:
    world = World()
    world.put(ONE, certified("0a", 2000.5))
    assert only(world.one).version == "0a-2000"
    world.put(TWO, certified("0a", 2000.5, key=b"another"))
    assert only(world.two).version == "0a-2000"
    assert only(world.two) != only(world.one)


def test_a_renewal_is_a_change_of_that_holders_map_and_of_no_other() -> None:
    world = World()
    world.put(ONE, certified("0a"))
    world.put(TWO, certified("0b"))
    revision = world.graph.revision
    before = only(world.two)
    world.put(ONE, certified("0c", 3000.0))
    assert world.one.since(revision) == Delta((DEFAULT,), ())
    assert world.two.since(revision) == Delta((), ()) and only(world.two) is before
    assert only(world.one).version == "0c-3000"


def test_what_is_given_back_is_gone() -> None:
    world = World()
    world.put(ONE, certified())
    world.put(ONE, None)
    assert not world.one.keys()


def test_the_roots_are_one_bundle_in_their_order() -> None:
    world = World()
    world.trust(b"old\n", b"new\n")
    found = only(world.roots)
    assert message(found).validation_context.trusted_ca.inline_bytes == b"old\nnew\n"
    first = found.version
    world.trust(b"new\n")
    assert only(world.roots).version != first
    world.trust(b"old\n", b"new\n")
    assert only(world.roots).version == first


def test_nothing_but_secrets_depends_on_the_holder() -> None:
    inbound = Inbound("foo", ())
    views = [ProxyView(Scope("foo"), inbound, mutual=True, holder=holder) for holder in (ONE, TWO)]
    first, second = map(feeds, views)
    assert first.keys() == second.keys() == {CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET}
    assert {url for url in first if first[url] != second[url]} == {SECRET}
    assert first[SECRET] == secret_maps(ONE)
    assert first[SECRET][0] != second[SECRET][0] and first[SECRET][1:] == second[SECRET][1:]


def test_a_proxy_without_an_identity_has_no_secrets() -> None:
    assert SECRET not in feeds(ProxyView(Scope("foo"), Inbound("foo", ())))


def test_a_key_is_in_no_repr() -> None:
    world = World()
    world.put(ONE, certified())
    assert "the key" not in repr(world.graph.tables()[certificates].values)
    assert "the key" not in repr(only(world.one))


# -- gateways -------------------------------------------------------------------------------------


class Shop:
    """A graph with Kubernetes Secrets, and what gateways of a namespace are served of them."""

    def __init__(self) -> None:
        self.graph = Graph()

    def put(self, name: str, namespace: str = "edge", **values: Any) -> None:
        value = Secret(Meta(namespace, name), **values) if values else None
        self.graph.commit([(secrets, Key(namespace, name), value)])
        self.graph.settle()

    def served(self, namespace: str = "edge") -> dict[str, Resource]:
        lease = self.graph.lease(gateway_secrets, namespace)
        self.graph.settle()
        found = {name: lease.get(name) for name in lease.keys()}
        lease.release()
        return found


def test_a_gateway_is_served_the_secrets_of_its_namespace_by_istios_names() -> None:
    shop = Shop()
    shop.put("shop", chain=CHAIN, key=KEY, version="0a-2000", authorities=b"clients\n")
    shop.put("other", namespace="far", chain=CHAIN, key=KEY, version="0b-2000")
    shop.put("opaque", authorities=b"")
    served = shop.served()
    assert sorted(served) == ["kubernetes://shop", "kubernetes://shop-cacert"]
    pair = message(served["kubernetes://shop"]).tls_certificate
    assert (pair.certificate_chain.inline_bytes, pair.private_key.inline_bytes) == (CHAIN, KEY)
    assert served["kubernetes://shop"].version == "0a-2000"
    clients = message(served["kubernetes://shop-cacert"]).validation_context
    assert clients.trusted_ca.inline_bytes == b"clients\n"


def test_authorities_in_a_secret_of_their_own_come_first() -> None:
    shop = Shop()
    shop.put("shop", chain=CHAIN, key=KEY, version="0a-2000", authorities=b"inner\n")
    shop.put("shop-cacert", authorities=b"own\n")
    served = shop.served()
    assert sorted(served) == ["kubernetes://shop", "kubernetes://shop-cacert"]
    assert b"own" in served["kubernetes://shop-cacert"].body
    shop.put("shop-cacert")
    assert b"inner" in shop.served()["kubernetes://shop-cacert"].body


def test_only_gateways_are_served_secrets_of_kubernetes() -> None:
    edge = Edge(selectors=((("app", "edge"),),))
    sidecar = ProxyView(Scope("foo"), None, mutual=True, holder=ONE)
    gateway = sidecar._replace(gateway=GatewayScope(edge, RouteScope(Scope("foo"))))
    assert feeds(sidecar)[SECRET] == secret_maps(ONE)
    assert feeds(gateway)[SECRET] == (*secret_maps(ONE), (credential_secrets, (edge, "foo")))
