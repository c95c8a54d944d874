"""Every file of Istio's samples in a running mesh: what is found wrong is wrong, and Envoys refuse nothing.

Each file comes to what its users have applied before it.  Three real Envoys are there: those of a caller and
of the product page, and the ingress gateway.  The other pods are there in name only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.lab import pushes
from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from controlplane.model.kinds import BY_NAME
from tests.support.envoys import MARKS, scenes
from tests.support.residents import ECHO, Resident, pod
from tests.support.town import Town

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "istio-samples"
pytestmark = [
    *MARKS,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="Istio's samples are not beside this repository"),
]
FILES = sorted(str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.yaml"))
NETWORKING = "bookinfo/networking"
BOOKINFO = (
    *(f"bookinfo/bookinfo{part}.yaml" for part in ("", "-ratings-v2", "-details-v2")),
    *(f"{NETWORKING}/{name}.yaml" for name in ("bookinfo-gateway", "destination-rule-all-mtls")),
)
BEFORE = {
    "httpbin/httpbin-gateway.yaml": ("httpbin/httpbin.yaml",),
    "helloworld/helloworld-gateway.yaml": ("helloworld/helloworld.yaml",),
    "tcp-echo/tcp-echo-all-v1.yaml": ("tcp-echo/tcp-echo-services.yaml",),
    "tcp-echo/tcp-echo-20-v2.yaml": ("tcp-echo/tcp-echo-services.yaml", "tcp-echo/tcp-echo-all-v1.yaml"),
}
FAULTS = {
    # Its first rule has no match: the fault is for everybody, and the second rule for nobody.
    f"{NETWORKING}/fault-injection-details-v1.yaml": [
        "VirtualService details: spec.http[1]: is not reached, nor what follows: http[0] takes everything"
    ],
}
"""By file, what the control plane has to say about it, beside subsets that nobody is in."""
LISTENERS = {
    f"{NETWORKING}/bookinfo-gateway.yaml": "0.0.0.0_8080",
    "helloworld/helloworld-gateway.yaml": "0.0.0.0_80",
    "httpbin/httpbin-gateway.yaml": "0.0.0.0_80",
    "tcp-echo/tcp-echo-all-v1.yaml": "0.0.0.0_31400",
}
"""By file, what the gateway opens for it."""
NOT_READ = {"Deployment"}
"""What controllers of Kubernetes read, and make Pods of."""

Object = dict[str, Any]


def documents(file: str) -> list[Object]:
    found = [one for one in yaml.safe_load_all((SAMPLES / file).read_text()) if one]
    for one in found:
        one["metadata"].setdefault("namespace", "default")
    return found


def applied(files: Iterable[str]) -> list[Object]:
    """As `kubectl apply` of one file after the other: what is written again replaces what was."""
    found = {}
    for file in files:
        for one in documents(file):
            found[one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]] = one
    return [*found.values()]


def before(file: str) -> tuple[str, ...]:
    """What is there already when somebody applies a file."""
    earlier = BEFORE.get(file, BOOKINFO if file.startswith("bookinfo/") else ())
    return tuple(one for one in earlier if one != file)


def pods(objects: Iterable[Object]) -> Iterator[Object]:
    """A Pod for each Deployment; it does not run."""
    numbers = itertools.count(100)
    for one in objects:
        if one["kind"] == "Deployment":
            template = one["spec"]["template"]
            account = template["spec"].get("serviceAccountName", "default")
            labels, ip = template["metadata"]["labels"], f"10.244.0.{next(numbers)}"
            spec = PodSpec(one["metadata"]["name"], "default", ip, labels, account)
            yield Resident(spec).manifest


PAGE = {"app": "productpage", "version": "v1"}


def idle_subsets(objects: Iterable[Object]) -> list[str]:
    """What is to be said of subsets that choose none of a service's pods: those with a database, for one."""
    listed = [*objects]
    running = [one["metadata"]["labels"] for one in pods(listed)]
    selectors = {
        one["metadata"]["name"]: one["spec"]["selector"] for one in listed if one["kind"] == "Service"
    }
    found = []
    for rule in listed:
        if rule["kind"] != "DestinationRule":
            continue
        host = rule["spec"]["host"]
        for number, subset in enumerate(rule["spec"].get("subsets", ())):
            wanted = {**selectors[host], **subset["labels"]}
            if not any(wanted.items() <= labels.items() for labels in running):
                field = f"DestinationRule {rule['metadata']['name']}: spec.subsets[{number}].labels"
                what = f"choose none of the endpoints of {host}.default.svc.cluster.local"
                found.append(f"{field}: {what}: calls to subset {subset['name']} fail")
    return found


NAMES = "10.244.0.2"
"""A name server that knows no name, but says so at once."""


def proxied(
    name: str, namespace: str, number: int, labels: dict[str, str], account: str, **more: Any
) -> Resident:
    ip = f"10.244.0.{number}"
    return Resident(PodSpec(name, namespace, ip, labels, account, nameservers=(NAMES,), **more))


RESIDENTS = (
    pod("names", "kube-system", 2, App(ECHO / "names.py", ("53", "{}")), meshed=False),
    proxied("caller", "default", 10, {"app": "caller"}, "caller"),
    proxied("page", "default", 11, PAGE, "bookinfo-productpage"),
    proxied("edge", "istio-system", 12, {"istio": "ingressgateway"}, "edge", kind="router"),
)


def build(lab: Lab) -> Town:
    return Town(lab, RESIDENTS, "")


town = scenes(build)


def apply(town: Town, files: Iterable[str]) -> tuple[pushes.Push, ...]:
    objects = applied(files)
    known = [one for one in objects if one["kind"] not in NOT_READ]
    return town.apply_objects([*known, *pods(objects)])


def test_all_kinds_are_known() -> None:
    kinds = {one["kind"] for file in FILES for one in documents(file)}
    assert kinds - set(BY_NAME) == NOT_READ
    assert len(FILES) > 30 and {"EnvoyFilter", "Gateway", "ServiceEntry", "VirtualService"} <= kinds


@pytest.mark.parametrize("file", FILES)
def test_a_file(town: Town, file: str) -> None:
    apply(town, ())
    pushed = apply(town, (*before(file), file))
    # It reaches all three, and whoever it reaches takes it.
    assert [push.target for push in pushed if push.acked < push.touched] == []
    kinds = {push.target[0]: push.touched for push in pushed}
    assert kinds.keys() >= {one["kind"] for one in documents(file)} - NOT_READ
    assert max(kinds.values()) == len(town.residents) - 1, kinds
    wrong = [*FAULTS.get(file, ()), *idle_subsets(applied((*before(file), file)))]
    town.becomes(sorted(wrong), town.problems)
    if file in LISTENERS:
        assert LISTENERS[file] in opened(town, "edge")
    town.accepted()


def opened(town: Town, who: str) -> set[str]:
    """The names of the listeners that an Envoy was sent."""
    found = town.lab.pods[who].admin.config_dump("resource=dynamic_listeners")["configs"]
    return {one["name"] for one in found}


def test_all_of_bookinfo_at_once(town: Town) -> None:
    files = [file for file in FILES if file.startswith("bookinfo/")]
    apply(town, files)
    # The DestinationRule that comes with the fault has replaced the one with v2.
    where, host = "spec.http[0].route[0].destination.subset", "details.default.svc.cluster.local"
    wrong = [f"VirtualService details: {where}: {host} has no subset 'v2'"]
    town.becomes(sorted([*wrong, *idle_subsets(applied(files))]), town.problems)
    town.accepted()


def test_what_is_wrong_is_found(town: Town) -> None:
    apply(town, ["httpbin/httpbin-gateway.yaml"])
    where, host = "spec.http[0].route[0].destination.host", "httpbin.default.svc.cluster.local"
    town.becomes([f"VirtualService httpbin: {where}: there is no service {host}"], town.problems)
