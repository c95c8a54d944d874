"""The Kubernetes kinds, as far as a mesh reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.keys import Key
from controlplane.model.kinds import endpoint_slices, endpoints, pods, services
from controlplane.model.kinds.cluster import NodeAddress
from controlplane.model.kinds.endpoints import (
    EndpointAddress,
    EndpointPort,
    EndpointSubset,
    ObjectReference,
    SliceEndpoint,
)
from controlplane.model.kinds.pod import Container, ContainerPort
from controlplane.model.kinds.service import ServicePort

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
OWNED = {"labels": {"kubernetes.io/service-name": "reviews"}}


def test_a_service(value: Values) -> None:
    service = value(
        "Service",
        {
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.1.0.1",
                "clusterIPs": ["10.1.0.1", "fd00::1"],
                "selector": {"app": "reviews"},
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080},
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
                    {"name": "rpc", "port": 90, "appProtocol": "grpc"},
                ],
                "internalTrafficPolicy": "Local",
                "trafficDistribution": "PreferClose",
                "publishNotReadyAddresses": True,
                "sessionAffinity": "None",
            }
        },
    )
    assert service.ports == (
        ServicePort("http", 80, "TCP", "web", 30080),
        ServicePort("dns", 53, "UDP", 5353),
        ServicePort("rpc", 90, app_protocol="grpc"),
    )
    assert service.addresses == ("10.1.0.1", "fd00::1")
    assert service.selector == (("app", "reviews"),)
    assert services.selector is not None
    assert services.selector(service) == (("app", "reviews"),)
    assert (service.type, service.internal_traffic_policy) == ("NodePort", "Local")
    assert service.traffic_distribution == "PreferClose"
    assert service.publish_not_ready_addresses
    assert not service.headless


def test_a_headless_service_without_selector(value: Values) -> None:
    service = value("Service", {"spec": {"clusterIP": "None", "selector": {}, "ports": [{"port": 80}]}})
    assert service.headless
    assert service.addresses == ()
    assert service.selector is None
    assert service.ports == (ServicePort("", 80),)


def test_an_external_name_is_found_by_the_host_that_it_stands_for(value: Values) -> None:
    service = value("Service", {"spec": {"type": "ExternalName", "externalName": "reviews"}})
    assert service.external_name == "reviews"
    found = services.indexes["external_name"](service.meta.key, service)
    assert tuple(found) == ("reviews.shop.svc.cluster.local",)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"type": "Magic"}, "spec.type", "not allowed"),
        ({"type": "ExternalName"}, "spec.externalName", "is missing"),
        ({"clusterIP": "10.0.0"}, "spec.clusterIP", "no IP address"),
        ({"ports": [{"name": "a"}]}, "spec.ports[0].port", "is missing"),
        ({"ports": [{"port": 70000}]}, "spec.ports[0].port", "from 0 to 65535"),
        ({"ports": [{"port": 1, "protocol": "HTTP"}]}, "spec.ports[0].protocol", "not allowed"),
        ({"ports": [{"port": 1, "targetPort": -1}]}, "spec.ports[0].targetPort", "from 0 to 65535"),
        ({"ports": [{"port": 1, "targetPort": []}]}, "spec.ports[0].targetPort", "expected an integer"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2}]}, "spec.ports[1].name", "is missing"),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]},
            "spec.ports[1].name",
            "given twice",
        ),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]},
            "spec.ports[1].port",
            "given twice",
        ),
        ({"selector": {"app": 1}}, "spec.selector[app]", "expected a string"),
        ({"ports": {}}, "spec.ports", "expected a list"),
    ],
)
def test_services_that_are_refused(refused: Fields, spec: dict[str, Any], field: str, message: str) -> None:
    assert message in refused("Service", {"spec": spec})[field]


def test_the_same_port_of_two_protocols_is_fine(value: Values) -> None:
    ports = [{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}]
    assert len(value("Service", {"spec": {"ports": ports}}).ports) == 2


def test_a_service_has_no_dots_in_its_name(refused: Fields) -> None:
    assert "cannot name a service" in refused("Service", {}, name="a.b")["metadata.name"]


def test_an_endpoint_slice(value: Values) -> None:
    slice_ = value(
        "EndpointSlice",
        {
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 9080, "protocol": "TCP", "appProtocol": "http"}],
            "endpoints": [
                {
                    "addresses": ["10.0.0.1"],
                    "conditions": {"ready": False, "serving": True, "terminating": True},
                    "hostname": "h",
                    "nodeName": "n",
                    "zone": "z",
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": "reviews-1", "uid": "x"},
                },
                {"addresses": ["10.0.0.2"]},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": False}},
            ],
        },
        **OWNED,
    )
    assert slice_.service == Key("shop", "reviews")
    assert slice_.ports == (EndpointPort("http", 9080, "TCP", "http"),)
    assert slice_.endpoints[0] == SliceEndpoint(
        ("10.0.0.1",), False, True, True, "h", "n", "z", ObjectReference("Pod", "shop", "reviews-1")
    )
    assert slice_.endpoints[1] == SliceEndpoint(("10.0.0.2",), ready=True, serving=True, terminating=False)
    assert slice_.endpoints[2] == SliceEndpoint(("10.0.0.3",), ready=False, serving=False)
    key = slice_.meta.key
    assert tuple(endpoint_slices.indexes["service"](key, slice_)) == (Key("shop", "reviews"),)
    assert set(endpoint_slices.indexes["address"](key, slice_)) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_a_slice_of_nobody_is_worth_a_warning(warned: Fields) -> None:
    assert "kubernetes.io/service-name" in warned("EndpointSlice", {"addressType": "IPv4"})["metadata.labels"]


def test_a_slice_of_names_may_hold_names(value: Values) -> None:
    body = {"addressType": "FQDN", "endpoints": [{"addresses": ["a.example.com"]}]}
    assert value("EndpointSlice", body, **OWNED).endpoints[0].addresses == ("a.example.com",)


def test_slices_that_are_refused(refused: Fields) -> None:
    bad = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1", "reviews"]}]}
    assert "no IP address" in refused("EndpointSlice", bad, **OWNED)["endpoints[0].addresses[1]"]
    bad = {"addressType": "IPv5", "ports": [{"port": 99999}]}
    assert set(refused("EndpointSlice", bad, **OWNED)) == {"addressType", "ports[0].port"}


def test_endpoints(value: Values) -> None:
    body = {
        "subsets": [
            {
                "addresses": [
                    {
                        "ip": "10.0.0.1",
                        "hostname": "h",
                        "nodeName": "n",
                        "targetRef": {"kind": "Pod", "name": "p"},
                    }
                ],
                "notReadyAddresses": [{"ip": "10.0.0.2"}],
                "ports": [{"name": "http", "port": 80}],
            }
        ]
    }
    object_ = value("Endpoints", body)
    first = EndpointAddress("10.0.0.1", "h", "n", ObjectReference("Pod", "", "p"))
    assert object_.subsets == (
        EndpointSubset((first,), (EndpointAddress("10.0.0.2"),), (EndpointPort("http", 80),)),
    )
    assert set(endpoints.indexes["address"](object_.meta.key, object_)) == {"10.0.0.1", "10.0.0.2"}
    assert tuple(endpoints.indexes["service"](object_.meta.key, object_)) == (Key("shop", "it"),)


def test_endpoints_that_are_refused(refused: Fields) -> None:
    bad = {"subsets": [{"addresses": [{"ip": "x"}, {}]}]}
    assert set(refused("Endpoints", bad)) == {"subsets[0].addresses[0].ip", "subsets[0].addresses[1].ip"}


def test_a_pod(value: Values) -> None:
    pod = value(
        "Pod",
        {
            "spec": {
                "serviceAccountName": "reviews",
                "nodeName": "n",
                "hostname": "h",
                "subdomain": "d",
                "hostNetwork": True,
                "containers": [
                    {"name": "app", "image": "x", "ports": [{"name": "web", "containerPort": 80}]}
                ],
                "initContainers": [
                    {"name": "once", "ports": [{"containerPort": 1}]},
                    {
                        "name": "side",
                        "restartPolicy": "Always",
                        "ports": [{"containerPort": 2, "protocol": "UDP"}],
                    },
                ],
            },
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True"},
                ],
            },
        },
        labels={"app": "reviews"},
        deletionTimestamp="2024-01-01T00:00:00Z",
    )
    assert pod.containers == (
        Container("app", (ContainerPort("web", 80),)),
        Container("side", (ContainerPort("", 2, "UDP"),)),
    )
    assert pod.pod_ips == ("10.0.0.1", "fd00::1")
    assert (pod.service_account_name, pod.node_name, pod.hostname, pod.subdomain) == (
        "reviews",
        "n",
        "h",
        "d",
    )
    assert (pod.phase, pod.ready, pod.terminating, pod.host_network) == ("Running", True, True, True)
    assert tuple(pods.indexes["ip"](pod.meta.key, pod)) == ("10.0.0.1", "fd00::1")
    assert pods.labels is not None
    assert pods.labels(pod) == (("app", "reviews"),)


def test_a_pod_that_has_only_begun(value: Values) -> None:
    pod = value("Pod", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert (pod.ready, pod.pod_ips, pod.service_account_name, pod.terminating) == (
        False,
        (),
        "default",
        False,
    )


def test_pods_that_are_refused(refused: Fields) -> None:
    assert "no IP address" in refused("Pod", {"status": {"podIP": "x"}})["status.podIP"]
    bad = {"spec": {"containers": [{"ports": [{}]}]}}
    assert set(refused("Pod", bad)) == {"spec.containers[0].ports[0].containerPort"}


def test_a_node_knows_where_it_stands(value: Values) -> None:
    node = value(
        "Node",
        {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}},
        labels={
            "topology.kubernetes.io/region": "r",
            "topology.kubernetes.io/zone": "z",
            "topology.istio.io/subzone": "s",
        },
    )
    assert (node.region, node.zone, node.subzone) == ("r", "z", "s")
    assert node.addresses == (NodeAddress("InternalIP", "192.0.2.1"),)
    assert node.meta.key == Key("", "it")
