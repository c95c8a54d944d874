"""What /debug shows of the streams."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from controlplane.envoy import pb
from controlplane.envoy import types as xds
from controlplane.envoy.resource import Resource, resource
from controlplane.model.proxy import Proxy, ProxyMetadata
from controlplane.xds import status
from controlplane.xds.observer import Connection
from controlplane.xds.session import Session
from tests.unit.xds.world import DELTA, SOTW, Peer, World
from tests.unit.xds.world import resource as fake


@dataclass
class Served:
    connection: Connection
    session: Session


def served(peer: Peer, number: int = 1, name: str = "web-1.default") -> Served:
    metadata = ProxyMetadata(cluster_id="Kubernetes", istio_version="1.27.0", workload_name="web")
    proxy = Proxy("sidecar", "10.0.0.1", name, "default", labels=(("app", "web"),), metadata=metadata)
    return Served(Connection(f"{name}-{number}", proxy, peer.variant, "unix:", 50.0), peer.session)


def json_of(value):
    return json.loads(json.dumps(value))


@pytest.fixture
def world() -> World:
    world = World()
    clusters = [pb.cluster.Cluster(name=f"c{number}") for number in range(2)]
    world.commit(("cds", one.name, resource(xds.CLUSTER, one.name, one)) for one in clusters)
    listener = pb.listener.Listener(name="l")
    world.commit([("lds", "l", resource(xds.LISTENER, "l", listener))])
    return world


def test_syncz_tells_how_far_each_type_is(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",))
    peer.ask("lds")
    peer.session.next(peer.now)
    (item,) = json_of(list(status.syncz([served(peer)], epoch=1_700_000_000.0)))
    assert (item["proxy"], item["cluster_id"], item["istio_version"]) == (
        "web-1.default",
        "Kubernetes",
        "1.27.0",
    )
    assert item["proxy_type"] == "sidecar"
    assert item["cluster_sent"] == item["cluster_acked"] != ""
    assert item["listener_sent"] != ""
    assert item["listener_acked"] == ""
    assert item["route_sent"] == item["route_acked"] == item["extensionconfig_sent"] == ""
    resources = item["resources"]
    assert resources[xds.CLUSTER] == {
        "sent": item["cluster_sent"],
        "acked": item["cluster_acked"],
        "sentTime": "2023-11-14T22:15:00.000000Z",
        "lastError": "",
    }
    assert xds.ROUTE not in resources


def test_syncz_tells_what_was_rejected_and_why(world: World) -> None:
    peer = Peer(world)
    world.put("rds", "r", "1")
    peer.start(("rds", "r"))
    world.put("rds", "r", "bad")
    peer.nack(peer.one(), "missing ]")
    peer.flush(ack=True)
    (item,) = status.syncz([served(peer)], epoch=0.0)
    shown = item["resources"][xds.ROUTE]
    assert shown["lastError"] == "missing ]"
    assert shown["rejected"] == {"r": "missing ]"}


def test_adsz_tells_who_watches_what(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("cds",), ("eds", "b", "a"))
    shown = json_of(status.adsz([served(peer)], epoch=0.0))
    assert shown["totalClients"] == 1
    (client,) = shown["clients"]
    assert client["connectionId"] == "web-1.default-1"
    assert client["connectedAt"] == "1970-01-01T00:00:50.000000Z"
    assert client["labels"] == {"app": "web"}
    assert client["metadata"]["WORKLOAD_NAME"] == "web"
    assert client["watches"] == {xds.CLUSTER: [], xds.ENDPOINT: ["a", "b"]}


def test_connections_are_listed(world: World) -> None:
    shown = json_of(status.connections([served(Peer(world), 1), served(Peer(world), 2)], epoch=0.0))
    assert [client["connectionId"] for client in shown["clients"]] == ["web-1.default-1", "web-1.default-2"]
    assert shown["totalClients"] == 2


def test_a_proxy_is_found_by_connection_id_and_name(world: World) -> None:
    one, two = served(Peer(world), 1), served(Peer(world), 2)
    assert status.find([one, two], "web-1.default-1") is one
    assert status.find([one, two], "web-1.default") is two
    assert status.find([one, two], "web-1") is two
    assert status.find([one, two], "nobody") is None


def test_config_dump_shows_what_the_proxy_has(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",), ("lds",))
    dump = json_of(status.config_dump(served(peer)))
    clusters, listeners = dump["configs"]
    assert clusters["@type"] == "type.googleapis.com/envoy.admin.v3.ClustersConfigDump"
    assert [one["cluster"]["name"] for one in clusters["dynamic_active_clusters"]] == ["c0", "c1"]
    assert clusters["dynamic_active_clusters"][0]["cluster"]["@type"] == xds.CLUSTER
    assert listeners["dynamic_listeners"][0]["name"] == "l"
    assert listeners["dynamic_listeners"][0]["active_state"]["listener"]["name"] == "l"


def test_config_dump_can_be_narrowed_to_types(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",), ("lds",))
    (section,) = status.config_dump(served(peer), ["lds"])["configs"]
    assert section["@type"].endswith("ListenersConfigDump")


def test_config_dump_shows_last_good_bytes_and_not_what_is_only_planned(world: World) -> None:
    for variant in (SOTW, DELTA):
        peer = Peer(world, variant)
        world.commit([("rds", name, fake("rds", name, "good")) for name in ("r", "s")])
        peer.start(("rds", "r"))
        world.put("rds", "r", "bad")
        peer.nack(peer.one(), "bad", "r")
        peer.ask("rds", "r", "s")
        assert {name: one.body for name, one in peer.sub("rds").holds().items()} == {"r": b"r=good>"}


def test_config_dump_shows_clusters_that_wait_for_their_removal(world: World) -> None:
    world.put("rds", "r", "1")
    peer = Peer(world)
    peer.start(("cds",), ("rds", "r"))
    world.commit([("cds", "c0", None), ("rds", "r", fake("rds", "r", "2"))])
    peer.flush()
    assert sorted(peer.sub("cds").holds()) == ["c0", "c1"]
    (item,) = status.syncz([served(peer)], epoch=0.0)
    assert item["resources"][xds.CLUSTER]["leaving"] == ["c0"]


def test_what_cannot_be_decoded_is_shown_as_base64() -> None:
    assert status.decoded(Resource(xds.CLUSTER, "x", b"\xff\xff")) == {"@type": xds.CLUSTER, "value": "//8="}


def test_private_keys_are_never_shown() -> None:
    secret = pb.secret.Secret(name="default")
    secret.tls_certificate.certificate_chain.inline_bytes = b"public"
    secret.tls_certificate.private_key.inline_bytes = b"PRIVATE"
    shown = status.decoded(resource(xds.SECRET, "default", secret))
    assert shown["tls_certificate"]["private_key"] == "[redacted]"
    assert shown["tls_certificate"]["certificate_chain"]
    generic = pb.secret.Secret(name="token")
    generic.generic_secret.secret.inline_string = "PRIVATE"
    assert "PRIVATE" not in str(status.decoded(resource(xds.SECRET, "token", generic)))
    assert "PRIVATE" not in str(status.decoded(Resource(xds.SECRET, "x", b"\xffPRIVATE")))


def test_push_status_counts_and_lists_rejections(world: World) -> None:
    good, bad, waiting = Peer(world), Peer(world), Peer(world)
    world.put("rds", "r", "1")
    for peer in (good, bad):
        peer.start(("cds",), ("rds", "r"))
    waiting.ask("cds")
    world.put("rds", "r", "bad")
    good.flush(ack=True)
    bad.nack(bad.one(), "missing ]")
    bad.flush(ack=True)
    shown = json_of(status.push_status([served(good, 1), served(bad, 2), served(waiting, 3)]))
    assert shown["proxies"] == 3
    assert shown["types"]["cds"] == {"synced": 2, "waiting": 1, "rejecting": 0}
    assert shown["types"]["rds"] == {"synced": 1, "waiting": 0, "rejecting": 1}
    assert shown["rejections"] == [
        {
            "proxy": "web-1.default",
            "connection": "web-1.default-2",
            "type": "rds",
            "names": ["r"],
            "error": "missing ]",
        }
    ]
