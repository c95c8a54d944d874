"""A fleet as a mesh has it: TLS, a token for each proxy, and a key and certificate for each by SDS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Wish
from controlplane.envoy import pb
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet import Fleet, FleetError, FleetOptions, Tls
from controlplane.lab.subjects_running import free_ports
from tests.support.process import Process, started

pytestmark = pytest.mark.whole

SIZE = Mesh(services=6, endpoints=3, namespaces=3)
NODES = [SIZE.node(i) for i in range(12)]
NAMES = [f"{node.name}.{node.namespace}" for node in NODES]


class Door:
    """A control plane with a TLS port, and the tokens for it."""

    def __init__(self, process: Process, data: Path, port: int) -> None:
        self.process, self._data = process, data
        self._address = f"127.0.0.1:{port}"
        issuer, now = TokenStore(data).issuer, time.time()
        wishes = (Wish(node.namespace, node.service_account, 3600.0, pod=node.name) for node in NODES)
        self.tokens = {name: issuer.issue(wish, now)[0] for name, wish in zip(NAMES, wishes, strict=True)}

    def roots(self) -> bytes:
        """What bootstraps are pointed to."""
        return (self._data / "root-cert.pem").read_bytes()

    def fleet(self, tokens: dict[str, str], **options: Any) -> Fleet:
        tls, secrets = Tls(self._data / "root-cert.pem"), ("default", "ROOTCA")
        return Fleet(self._address, NODES, FleetOptions(token=tokens, tls=tls, secrets=secrets, **options))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("certified")
    (port,) = free_ports(1)
    flags = ("--data-dir", str(folder / "data"), "--secure-grpc-addr", f"127.0.0.1:{port}")
    flags += ("--root-rotation-pause", "0s")
    with started(folder, *flags) as process:
        for raw in SIZE.objects():
            process.files.put(raw)
        process.wait_ready()
        yield Door(process, folder / "data", port)


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_every_proxy_has_a_certificate_of_its_own(door: Door, protocol: Any) -> None:
    with door.fleet(door.tokens, protocol=protocol, processes=2) as fleet:
        connected = fleet.connect()
        assert sorted(connected.secured) == sorted(connected.warm) == sorted(NAMES)
        # Warm is who has its secrets, too.
        assert all(connected.secured[name] <= connected.warm[name] for name in NAMES)
        assert connected.endings == ()
        keys = set()
        for name, node in zip(NAMES, NODES, strict=True):
            secrets = fleet.contents(name)["sds"]
            found = pb.secret.Secret.FromString(secrets["default"]).tls_certificate
            leaf = x509.load_pem_x509_certificate(found.certificate_chain.inline_bytes)
            (uri,) = leaf.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value.get_values_for_type(x509.UniformResourceIdentifier)
            assert uri == f"spiffe://cluster.local/ns/{node.namespace}/sa/{node.service_account}"
            keys.add(found.private_key.inline_bytes)
        # Replicas share an account and never a key.
        assert len(keys) == len(NODES) > len({(node.namespace, node.service_account) for node in NODES})


def test_who_has_no_token_or_anothers_is_told_and_waits(door: Door) -> None:
    tokens = {**door.tokens, NAMES[0]: door.tokens[NAMES[1]]}
    del tokens[NAMES[2]]
    with door.fleet(tokens, backoff=(0.05, 0.1)) as fleet:
        away = ""
        for _ in range(15):
            with pytest.raises(FleetError, match="of 12 proxies are not warm") as error:
                fleet.connect(timeout=2)
            away = str(error.value)
            if away.startswith("2 of"):  # the others are in, however long they needed
                break
        assert away.startswith("2 of 12")
        turned_away = {ending.proxy for ending in fleet.endings()}
        assert turned_away == {NAMES[0], NAMES[2]}


def test_a_storm_brings_everybody_back_with_the_certificate_that_it_had(door: Door) -> None:
    with door.fleet(door.tokens) as fleet:
        fleet.connect()
        before = {name: fleet.contents(name)["sds"]["default"] for name in NAMES}
        storm = fleet.reconnect(0.5, seed=1)
        assert sorted(storm.warm) == sorted(NAMES)
        assert {name: fleet.contents(name)["sds"]["default"] for name in NAMES} == before


def test_a_change_of_root_is_told_by_secrets_alone(door: Door) -> None:
    with door.fleet(door.tokens, processes=2) as fleet:
        fleet.connect()
        before = {name: fleet.contents(name)["sds"] for name in NAMES}
        fleet.receipts()
        assert door.process.get("/debug/ca?do=rotate", method="POST").status == 200
        door.process.wait(
            lambda: door.process.get("/debug/ca").json["stage"] == "idle", "the rotation is over"
        )
        fleet.quiet(0.3)
        after = {name: fleet.contents(name)["sds"] for name in NAMES}
        # Both roots, then a certificate of the new one, then the new root alone; and nothing else.
        receipts = fleet.receipts()
        assert {receipt.type for receipt in receipts} == {"sds"}
        assert len(receipts) == 3 * len(NAMES)
        assert fleet.endings() == []
        for name in NAMES:
            assert before[name]["default"] != after[name]["default"]
            assert before[name]["ROOTCA"] != after[name]["ROOTCA"]
        (root,) = {after[name]["ROOTCA"] for name in NAMES}
        trusted = pb.secret.Secret.FromString(root).validation_context.trusted_ca.inline_bytes
        assert trusted == door.roots()
