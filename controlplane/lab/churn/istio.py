"""The cases of Istio's own configuration benchmarks, by name and at their sizes.

Names, counts and kinds are those of the benchmark table in pilot/pkg/xds/bench_test.go of
https://github.com/istio/istio (2024); the objects are this lab's own.  There each case measures how long
one full configuration takes to generate.  Here the configuration is served, and then one of its
objects changes again and again, which is what a control plane does all day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from controlplane.lab.churn import markers
from controlplane.lab.churn.arrivals import Arrivals
from controlplane.lab.churn.days import endpoint_rotation, virtual_service_edits
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.objects import OLD_VERSION, Pod, Raw, service_entry, vip
from controlplane.lab.churn.plan import Plan
from controlplane.lab.churn.scenario import Scenario, WorkloadError
from controlplane.lab.churn.workload import Edit

_PLAIN = Mesh(
    services=100, endpoints=2, namespaces=1, dialect="serviceentry", virtual_services=0, destination_rules=0
)

_GATEWAY = "the lab's mesh has no gateways yet"
UNSERVED: Mapping[str, str] = {
    "istio-gateways": f"1000 gateways with a host each: {_GATEWAY}",
    "istio-gateways-shared": f"1000 gateways that share a host: {_GATEWAY}",
    "istio-knative-gateway": f"100 services behind a Knative gateway: {_GATEWAY}",
    "istio-secrets": f"10 or 1000 gateway certificates: {_GATEWAY}",
    "istio-telemetry": "100 services with telemetry filters: they are those of Istio's own Envoy",
    "istio-telemetry-api": "100 services: Telemetry is not served yet",
    "istio-authorizationpolicy": "100 services: policies change inbound routes, where no client looks",
    "istio-peerauthentication": "100 services: proxies without an identity take no part in it",
    "istio-strict": "mutual TLS for everybody: proxies without an identity take no part in it",
    "istio-disabled": "mutual TLS for nobody: proxies without an identity take no part in it",
    "istio-externalname": "100 ExternalName Services: they are other names of services and send nothing",
}
"""Cases that cannot be run, and why."""


def _workload_entries(plan: Plan, *, arrivals: Arrivals | str = "every:1") -> None:
    """Each time one WorkloadEntry gets another address."""
    mesh = plan.mesh
    if mesh.dialect != "serviceentry":
        raise WorkloadError("ServiceEntries select WorkloadEntries: use the dialect serviceentry")
    plan.initial = [
        raw
        for i in range(mesh.services)
        for raw in (_selecting(mesh, i), *(_entry(mesh, i, pod) for pod in mesh.pods(i)))
    ]
    chance = plan.chance("entries")

    def move(_: float) -> Iterator[Edit]:
        i = chance.number(mesh.services)
        pod = chance.one(plan.loose(i))
        yield plan.put(lambda number: _entry(mesh, i, pod._replace(address=markers.address(number))))

    for at in plan.times(arrivals):
        plan.at(at, move)


def _selecting(mesh: Mesh, i: int) -> Raw:
    raw = service_entry(f"s{i}", mesh.namespace(i), vip(i), ())
    del raw["spec"]["endpoints"]
    raw["spec"]["workloadSelector"] = {"labels": {"app": f"s{i}"}}
    return raw


def _entry(mesh: Mesh, i: int, pod: Pod) -> Raw:
    return {
        "apiVersion": OLD_VERSION,
        "kind": "WorkloadEntry",
        "metadata": {"name": pod.name, "namespace": mesh.namespace(i)},
        "spec": {"address": pod.address, "labels": {"app": f"s{i}"}, "serviceAccount": f"s{i}"},
    }


def _case(name: str, what: str, mesh: Mesh, build: Callable[..., None] = endpoint_rotation) -> Scenario:
    return Scenario(f"istio-{name}", what, mesh, build)


def _endpoints(endpoints: int, services: int) -> Scenario:
    what = f"{services} services with {endpoints} endpoints each; an endpoint changes each time"
    return _case(
        f"endpoints-{endpoints}-{services}", what, replace(_PLAIN, services=services, endpoints=endpoints)
    )


CASES: tuple[Scenario, ...] = (
    _case("http", "100 HTTP services; an endpoint changes each time", _PLAIN),
    _case("tcp", "100 TCP services; an endpoint changes each time", replace(_PLAIN, protocol="TCP")),
    _case("tls", "100 TLS services; an endpoint changes each time", replace(_PLAIN, protocol="TLS")),
    _case(
        "auto",
        "100 services whose protocol is detected; an endpoint changes each time",
        replace(_PLAIN, protocol=""),
    ),
    _case(
        "virtualservice",
        "100 services with a VirtualService each, one of which changes each time",
        replace(_PLAIN, virtual_services=1),
        virtual_service_edits,
    ),
    _case(
        "serviceentry-workloadentry",
        "100 ServiceEntries that select 1000 WorkloadEntries, one of which changes each time",
        replace(_PLAIN, endpoints=10),
        _workload_entries,
    ),
    _endpoints(1, 100),
    _endpoints(10, 10),
    _endpoints(100, 10),
    _endpoints(1000, 1),
)
