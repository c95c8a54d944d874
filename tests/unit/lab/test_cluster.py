"""What the lab adds to written objects: addresses, pods, endpoints; and that the sample is whole."""

from __future__ import annotations

from pathlib import Path

import yaml

from controlplane.lab import cluster
from controlplane.lab.shop import SAMPLE
from controlplane.lab.steps import STEPS

OBJECTS = tuple(
    found for name in ("bookstore", "ingress") for found in cluster.load(SAMPLE / "kube" / f"{name}.yaml")
)
SHOP = cluster.complete(OBJECTS, SAMPLE)


def test_every_service_has_an_address_of_its_own() -> None:
    names = [found["metadata"]["name"] for found in OBJECTS if found["kind"] == "Service"]
    addresses = {SHOP.service_address(name) for name in names}
    assert len(addresses) == len(names) == 5
    assert all(address.startswith("10.96.") for address in addresses)


def test_every_replica_is_a_pod_with_an_address_of_its_own() -> None:
    twice = [
        {**found, "spec": {**found["spec"], "replicas": 2}} if found["kind"] == "Deployment" else found
        for found in OBJECTS
    ]
    pods = cluster.complete(twice, SAMPLE).workloads
    assert len(pods) == 18
    assert len({pod.spec.ip for pod in pods}) == len({pod.spec.name for pod in pods}) == 18


def test_a_pod_says_the_same_as_the_envoy_in_it() -> None:
    pod = SHOP.workload("reviews-v2")
    assert pod.manifest["metadata"]["labels"] == pod.spec.labels
    assert pod.spec.labels["version"] == "v2"
    assert pod.manifest["status"]["podIP"] == pod.spec.ip
    assert pod.spec.node.id == f"sidecar~{pod.spec.ip}~{pod.spec.name}.bookstore~bookstore.svc.cluster.local"
    assert pod.spec.service_account == "bookstore-reviews"


def test_what_is_injected_can_do_mutual_tls() -> None:
    capable = {"security.istio.io/tlsMode": "istio"}
    meshed = {pod.spec.workload: pod.meshed for pod in SHOP.workloads}
    assert [name for name, inside in meshed.items() if not inside] == ["outsider"]
    for pod in SHOP.workloads:
        inside = pod.meshed and pod.spec.kind == "sidecar"
        assert inside == (capable.items() <= pod.spec.labels.items())
    unlabelled = [found for found in OBJECTS if found["kind"] != "Namespace"]
    for pod in cluster.complete(unlabelled, SAMPLE).workloads:
        # A gateway says so itself.
        assert pod.meshed == (pod.spec.kind == "router") == (pod.spec.workload == "ingress")
        assert not capable.items() & pod.spec.labels.items()


def test_a_pods_own_label_decides_whether_it_is_injected() -> None:
    def own(value: str, namespace: str) -> bool:
        meta = {"name": "x", "namespace": namespace}
        template = {
            "metadata": {"labels": {"sidecar.istio.io/inject": value}},
            "spec": {"containers": [{"command": ["sleep", "infinity"]}]},
        }
        deployment = {"kind": "Deployment", "metadata": meta, "spec": {"template": template}}
        return cluster.complete([*OBJECTS, deployment], SAMPLE).workload("x").meshed

    assert not own("false", "bookstore")
    assert own("true", "elsewhere")


def test_deployments_stay_with_their_controller() -> None:
    assert {found["kind"] for found in SHOP.manifests} == {
        *("Namespace", "ServiceAccount", "Service"),
        *("Gateway", "VirtualService"),
    }


def test_endpoints_are_the_pods_that_the_selector_picks() -> None:
    slices = {
        found["metadata"]["labels"]["kubernetes.io/service-name"]: found
        for found in cluster.endpoint_slices(SHOP, True)
    }
    reviews = {endpoint["addresses"][0] for endpoint in slices["reviews"]["endpoints"]}
    assert reviews == {SHOP.workload(f"reviews-v{version}").spec.ip for version in (1, 2, 3)}
    assert slices["ratings"]["ports"] == [{"name": "http", "port": 9080, "protocol": "TCP"}]
    assert not any(
        endpoint["conditions"]["ready"]
        for found in cluster.endpoint_slices(SHOP, False)
        for endpoint in found["endpoints"]
    )


def test_containers_learn_where_services_are() -> None:
    app = SHOP.workload("productpage-v1").spec.app
    assert app is not None
    assert app.script == SAMPLE / "server.py" and app.script.is_file()
    assert app.args == ("productpage", "v1", "9080")
    assert app.env["REVIEWS_SERVICE_HOST"] == SHOP.service_address("reviews")
    assert SHOP.workload("client").spec.app is None


def test_dump_and_load_are_inverse(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(cluster.dump(SHOP.manifests))
    assert cluster.load(tmp_path / "file.yaml") == SHOP.manifests


def test_every_step_has_its_file_and_every_file_its_step() -> None:
    files = {path.name for path in (SAMPLE / "steps").iterdir()}
    assert files == {step.file for step in STEPS}
    for name in files:
        kinds = [found["kind"] for found in yaml.safe_load_all((SAMPLE / "steps" / name).read_text())]
        assert "VirtualService" in kinds and "DestinationRule" in kinds
    policies = {path.name for path in (SAMPLE / "security").iterdir()}
    assert policies == {step.security for step in STEPS}
    for name in policies:
        kinds = [found["kind"] for found in yaml.safe_load_all((SAMPLE / "security" / name).read_text())]
        assert kinds[0] == "PeerAuthentication"
