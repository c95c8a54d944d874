"""WorkloadGroup: what machines of one kind have in common; each that joins has a WorkloadEntry made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import check_selector
from controlplane.model.describe import shorten
from controlplane.model.keys import Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.workload_entry import WorkloadEntrySpec, read_template
from controlplane.model.meta import Meta
from controlplane.model.reader import INT32, Reader


@dataclass(frozen=True, slots=True)
class WorkloadGroup:
    """`labels` and `annotations` are those of the entries; `template` is their spec, without an address."""

    meta: Meta
    template: WorkloadEntrySpec
    labels: Labels = ()
    annotations: Labels = ()


workload_groups = Table("workload_groups", indexes={"namespace": by_namespace}, namespace=namespace_of)

_HEADER = re.compile(r"[-_0-9A-Za-z]+")
_WAYS = ("httpGet", "tcpSocket", "exec", "grpc")


def _read(r: Reader, meta: Meta) -> WorkloadGroup:
    r.demand("template", "say what the entries have in common")
    template = r.message("template", read_template) or WorkloadEntrySpec("")
    if template.address:
        r.error("template.address", "belongs to one machine", "remove it: who joins brings its own")
    labels, annotations = r.message("metadata", _read_metadata) or ((), ())
    probe = r.message("probe", _read_probe)
    if probe:
        r.warn(
            "probe",
            "is not supported: an agent beside Envoy would have to run it, and there is none",
            "let clients find out with outlierDetection in a DestinationRule",
        )
    return WorkloadGroup(meta, template, labels, annotations)


def _read_metadata(r: Reader) -> tuple[Labels, Labels]:
    labels = r.labels("labels")
    check_selector(r, "labels", labels)
    return labels, r.labels("annotations")


def _read_probe(r: Reader) -> bool:
    """Whether there is a probe; it is read as Istio's validation would, and nothing runs it."""
    for name in ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        r.integer(name, 0, INT32)
    r.integer("initialDelaySeconds", 0, INT32)
    said = [name for name in _WAYS if r.has(name)]
    if len(said) != 1:
        r.error("", "says no way of probing, or several", f"say one of {', '.join(_WAYS)}")
    r.message("httpGet", _read_http)
    r.message("tcpSocket", _read_socket)
    r.message("exec", _read_command)
    r.message("grpc", _read_grpc)
    return True


def _read_http(r: Reader) -> bool:
    path = r.text("path")
    if path and not path.startswith("/"):
        r.error("path", "does not begin with a slash", "write it as /healthz")
    r.text("host")
    r.required_port("port")
    r.choice("scheme", ("HTTP", "HTTPS"))
    r.messages("httpHeaders", _read_header)
    return True


def _read_header(r: Reader) -> bool:
    name = r.required("name", "name the header")
    if name and not _HEADER.fullmatch(name):
        r.error("name", f"{shorten(name)} cannot be the name of a header", "use letters, digits, - and _")
    r.text("value")
    return True


def _read_socket(r: Reader) -> bool:
    r.text("host")
    r.required_port("port")
    return True


def _read_command(r: Reader) -> bool:
    r.demand("command", "say what to run")
    r.strings("command")
    return True


def _read_grpc(r: Reader) -> bool:
    r.required_port("port")
    r.text("service")
    return True


WORKLOAD_GROUP = Kind(
    name="WorkloadGroup",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="workloadgroups",
    namespaced=True,
    table=workload_groups,
    read=_read,
)
