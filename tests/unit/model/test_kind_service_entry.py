"""ServiceEntry and WorkloadEntry: all of their fields, and what Istio's validation refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.kinds import service_entries, workload_entries
from controlplane.model.kinds.service_entry import ServiceEntryPort
from controlplane.model.kinds.workload_entry import WorkloadEntrySpec

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
PORT = {"number": 443, "name": "tls", "protocol": "TLS"}


def entry(**spec: Any) -> dict[str, Any]:
    return {"hosts": ["a.example.com"], "ports": [PORT], **spec}


def test_a_service_entry_with_endpoints(value: Values) -> None:
    got = value(
        "ServiceEntry",
        {
            "hosts": ["*.b.example.com"],
            "addresses": ["240.0.0.1", "10.0.0.0/8"],
            "ports": [
                PORT,
                {"number": 80, "name": "http", "protocol": "http", "targetPort": 8080},
                {"number": 81, "name": "any"},
            ],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [
                {
                    "address": "10.0.0.1",
                    "ports": {"tls": 8443},
                    "labels": {"version": "v1"},
                    "network": "n",
                    "locality": "r/z/s",
                    "weight": 3,
                    "serviceAccount": "sa",
                },
            ],
            "exportTo": ["~"],
            "subjectAltNames": ["spiffe://x"],
        },
    )
    assert got.ports == (
        ServiceEntryPort(443, "tls", "TLS"),
        ServiceEntryPort(80, "http", "http", 8080),
        ServiceEntryPort(81, "any"),
    )
    assert got.endpoints == (
        WorkloadEntrySpec("10.0.0.1", (("tls", 8443),), (("version", "v1"),), "n", "r/z/s", 3, "sa"),
    )
    assert (got.location, got.resolution) == ("MESH_INTERNAL", "STATIC")
    assert (got.export_to, got.subject_alt_names) == (("~",), ("spiffe://x",))
    key = got.meta.key
    assert set(service_entries.indexes["host"](key, got)) == {"*.b.example.com"}
    assert "10.0.0.1" in set(service_entries.indexes["address"](key, got))


def test_a_service_entry_with_a_selector(value: Values) -> None:
    got = value("ServiceEntry", entry(resolution="STATIC", workloadSelector={"labels": {"app": "db"}}))
    assert got.workload_selector == (("app", "db"),)
    assert service_entries.selector is not None
    assert service_entries.selector(got) == (("app", "db"),)
    assert service_entries.selector(value("ServiceEntry", entry())) is None


def test_the_defaults_are_those_of_the_api(value: Values) -> None:
    got = value("ServiceEntry", entry())
    assert (got.location, got.resolution, got.addresses) == ("MESH_EXTERNAL", "NONE", ())


def test_wildcards_go_with_dynamic_dns(value: Values) -> None:
    assert value("ServiceEntry", entry(hosts=["*.a.com"], resolution="DYNAMIC_DNS")).hosts == ("*.a.com",)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"ports": [PORT]}, "spec.hosts", "is missing"),
        (entry(hosts=["*"]), "spec.hosts[0]", "every host"),
        (entry(hosts=["1.2.3.4"]), "spec.hosts[0]", "number"),
        ({"hosts": ["a.com"]}, "spec.ports", "is missing"),
        (entry(ports=[]), "spec.ports", "is missing"),
        (entry(ports=[{"name": "a"}]), "spec.ports[0].number", "is missing"),
        (entry(ports=[{"number": 1}]), "spec.ports[0].name", "is missing"),
        (entry(ports=[{**PORT, "protocol": "SPDY"}]), "spec.ports[0].protocol", "not a known protocol"),
        (entry(ports=[{**PORT, "name": "a_b"}]), "spec.ports[0].name", "name of a port"),
        (entry(ports=[PORT, {**PORT, "number": 1}]), "spec.ports[1].name", "given twice"),
        (entry(ports=[PORT, {**PORT, "name": "b"}]), "spec.ports[1].number", "given twice"),
        (entry(ports=[{**PORT, "targetPort": 70000}]), "spec.ports[0].targetPort", "from 0 to 65535"),
        (entry(addresses=["a"]), "spec.addresses[0]", "no IP address or CIDR"),
        (entry(addresses=["10.0.0.0/8"], resolution="DNS"), "spec.addresses[0]", "CIDR"),
        (entry(location="MARS"), "spec.location", "not allowed"),
        (entry(resolution="MAGIC"), "spec.resolution", "not allowed"),
        (entry(hosts=["*.a.com"], resolution="DNS"), "spec.hosts[0]", "cannot be resolved"),
        (entry(hosts=["*.a.com"], resolution="DNS_ROUND_ROBIN"), "spec.hosts[0]", "cannot be resolved"),
        (
            entry(resolution="STATIC", endpoints=[{"address": "b.com"}]),
            "spec.endpoints[0].address",
            "no IP address",
        ),
        (entry(resolution="NONE", endpoints=[{"address": "10.0.0.1"}]), "spec.endpoints", "resolution NONE"),
        (
            entry(resolution="DNS_ROUND_ROBIN", endpoints=[{"address": "b.com"}, {"address": "c.com"}]),
            "spec.endpoints",
            "one at most",
        ),
        (
            entry(
                resolution="STATIC",
                endpoints=[{"address": "10.0.0.1"}],
                workloadSelector={"labels": {"a": "b"}},
            ),
            "spec.workloadSelector",
            "excludes endpoints",
        ),
        (entry(resolution="STATIC", endpoints=[{}]), "spec.endpoints[0].address", "is missing"),
        (
            entry(resolution="STATIC", endpoints=[{"address": "10.0.0.1", "ports": {"other": 1}}]),
            "spec.endpoints[0].ports[other]",
            "not one of the service's ports",
        ),
        (
            entry(resolution="STATIC", endpoints=[{"address": "10.0.0.1", "ports": {"tls": 0}}]),
            "spec.endpoints[0].ports[tls]",
            "from 1 to 65535",
        ),
        (
            entry(resolution="STATIC", endpoints=[{"address": "10.0.0.1", "ports": {443: 1}}]),
            "spec.endpoints[0].ports",
            "as a key",
        ),
        (
            entry(workloadSelector={"labels": {"a": "*"}}),
            "spec.workloadSelector.labels[a]",
            "value of a label",
        ),
        (entry(exportTo=["~", "a"]), "spec.exportTo", "and more"),
    ],
)
def test_service_entries_that_are_refused(
    refused: Fields, spec: dict[str, Any], field: str, message: str
) -> None:
    assert message in refused("ServiceEntry", spec)[field]


def test_service_entries_with_a_warning(warned: Fields) -> None:
    assert "did you mean resolution?" in warned("ServiceEntry", entry(resolutoin="DNS"))["spec.resolutoin"]
    assert "is empty" in warned("ServiceEntry", entry(workloadSelector={}))["spec.workloadSelector.labels"]


def test_a_workload_entry_has_the_labels_of_both_places(value: Values) -> None:
    got = value(
        "WorkloadEntry",
        {"address": "10.0.0.1", "labels": {"app": "spec", "version": "v1"}},
        labels={"app": "metadata"},
    )
    assert got.labels == (("app", "metadata"), ("version", "v1"))
    assert workload_entries.labels is not None
    assert workload_entries.labels(got) == got.labels
    assert tuple(workload_entries.indexes["address"](got.meta.key, got)) == ("10.0.0.1",)


def test_a_workload_elsewhere_needs_no_address(value: Values) -> None:
    got = value("WorkloadEntry", {"network": "n"})
    assert got.spec.address == ""
    assert tuple(workload_entries.indexes["address"](got.meta.key, got)) == ()


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({}, "spec.address", "is missing"),
        ({"address": "a b"}, "spec.address", "neither an IP address nor a DNS name"),
        ({"address": "*.a.com"}, "spec.address", "neither an IP address nor a DNS name"),
        ({"address": "unix://relative"}, "spec.address", "names no socket"),
        ({"address": "unix:///dir/"}, "spec.address", "names no socket"),
        ({"address": "unix:///s", "ports": {"a": 1}}, "spec.ports", "cannot be used with a socket"),
        ({"address": "10.0.0.1", "ports": {"a_b": 1}}, "spec.ports", "name of a port"),
        ({"address": "10.0.0.1", "weight": -1}, "spec.weight", "got the number -1"),
        ({"address": "10.0.0.1", "labels": {"a": "b c"}}, "spec.labels[a]", "value of a label"),
    ],
)
def test_workload_entries_that_are_refused(
    refused: Fields, spec: dict[str, Any], field: str, message: str
) -> None:
    assert message in refused("WorkloadEntry", spec)[field]


def test_addresses_have_one_spelling(value: Values) -> None:
    written = [
        "10.0.0.1/8",
        "10.0.0.0/8",
        "10.9.9.9/32",
        "10.9.9.9",
        "2001:DB8:0::/32",
        "2001:db8::/32",
        "0.0.0.0/0",
    ]
    got = value("ServiceEntry", entry(addresses=written))
    assert got.addresses == ("10.0.0.0/8", "10.9.9.9", "2001:db8::/32", "0.0.0.0/0")
