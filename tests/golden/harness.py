"""Golden cases: `<case>/in.yaml` (objects) and `proxy.yaml` (who asks) give `<case>/out/*.yaml`.

A case may have `containers.yaml` besides, a list of what Docker tells of containers (`docker inspect`): what
they are as objects stands in its outputs, too.
A proxy with `asks` has its virtual hosts on demand, and asks for these; one with `identity`, a SPIFFE ID,
has a certificate for it.  `secrets` are Secrets that there are ("namespace/name"), with made-up contents;
`features` are switches (`controlplane.mesh.features`) that differ from their defaults; `locality` is where
its Envoy says that it stands: {region, zone, sub_zone}.

`python -m tests.golden.harness` writes the outputs of all cases anew; read the difference before
committing it.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from controlplane.app.features import settle_features
from controlplane.envoy import pb
from controlplane.envoy.patches.judge import judged
from controlplane.envoy.resource import Resource
from controlplane.envoy.snapshot import snapshot
from controlplane.envoy.types import BY_URL
from controlplane.graph import Graph
from controlplane.graph.table import Change
from controlplane.mesh.checks import checks
from controlplane.model.identity import parse_spiffe
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME, TABLES, secrets
from controlplane.model.kinds.secret import Secret
from controlplane.model.locality import Locality
from controlplane.model.meta import Meta
from controlplane.model.problem import Origin, Problem
from controlplane.model.proxy import parse_node
from controlplane.sources.docker.container import Container, read
from controlplane.sources.docker.objects import Place, describe, origin_of
from controlplane.store.sight import Sight
from tests.support.addresses import settle_addresses

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/in.yaml"))


def objects_of(name: str, folder: Path = HERE) -> list[Any]:
    """The documents of a case's in.yaml, None where one is empty."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return list(yaml.load_all((folder / name / "in.yaml").read_text(), loader))


class Case:
    """One case, computed; of `objects`, if they are given, instead of those in its in.yaml."""

    def __init__(self, name: str, folder: Path = HERE, objects: list[Any] | None = None) -> None:
        self.folder = folder / name
        self.graph = Graph()
        self.problems: list[dict[str, Any]] = []
        self.described: list[Any] = []
        self._load(objects_of(name, folder) if objects is None else objects)
        node = yaml.safe_load((self.folder / "proxy.yaml").read_text())
        proxy = parse_node(node["id"], node.get("metadata", {}), Locality(**node.get("locality", {})))
        self.graph.commit(secrets_of(node))
        settle_features(self.graph, node.get("features", {}))
        settle_addresses(self.graph)
        if "identity" in node:
            proxy = replace(proxy, identity=parse_spiffe(node["identity"]))
        self.resources: dict[str, dict[str, Resource]] = snapshot(self.graph, proxy, node.get("asks"))
        lease = self.graph.lease(checks)
        self.graph.settle()
        for ref in lease.keys():
            self.problems += [problem.as_json() for problem in lease.get(ref)]

    def _load(self, objects: list[Any]) -> None:
        writes = []
        found = [(raw, Origin("in.yaml", number)) for number, raw in enumerate(objects, 1) if raw is not None]
        containers = self.folder / "containers.yaml"
        if containers.exists():
            self._describe(yaml.safe_load(containers.read_text()))
        for raw, origin in (*found, *((raw, origin_of(raw)) for raw in self.described)):
            kind = BY_NAME[raw["kind"]]
            parsed = judged(kind, kind.parse(raw, origin), origin)
            self.problems += [problem.as_json() for problem in parsed.problems]
            if parsed.value is not None:
                writes.append((TABLES[raw["kind"]], parsed.key, parsed.value))
        self.graph.commit(Sight(lambda table: self.graph.rows(table).values).seen(writes))

    def _describe(self, inspected: list[dict[str, Any]]) -> None:
        containers = [read(one) for one in inspected]
        unreadable = [one for one in containers if isinstance(one, Problem)]
        described = describe((one for one in containers if isinstance(one, Container)), Place("default"))
        self.described = list(described.objects)
        self.problems += [problem.as_json() for problem in (*unreadable, *described.problems)]

    def outputs(self) -> dict[str, str]:
        """File name -> content."""
        out = {
            f"{BY_URL[url].short}.yaml": _dump([readable(resource) for resource in found.values()])
            for url, found in self.resources.items()
            if found
        }
        if self.described:
            out["objects.yaml"] = _dump(self.described)
        if self.problems:
            shown = [{k: v for k, v in p.items() if v not in ("", None)} for p in self.problems]
            out["problems.yaml"] = _dump(shown)
        return out

    def all(self) -> list[Resource]:
        """All resources of all types."""
        return list(itertools.chain.from_iterable(found.values() for found in self.resources.values()))


def secrets_of(node: dict[str, Any]) -> list[Change]:
    """The rows of the Secrets in a proxy.yaml; no golden needs a real key."""
    keys = (Key(*name.split("/")) for name in node.get("secrets", ()))
    return [
        (secrets, key, Secret(Meta(*key), b"its certificate", b"its key", b"its authorities", "1"))
        for key in keys
    ]


def readable(resource: Resource) -> dict[str, Any]:
    """A resource as its JSON mapping, with the inner messages of Any spelled out."""
    message = pb.parse(resource.type_url, resource.body)
    shown: dict[str, Any] = json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))
    return shown


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=True, width=120, allow_unicode=True)


def update() -> None:
    for name in CASES:
        out = HERE / name / "out"
        out.mkdir(exist_ok=True)
        outputs = Case(name).outputs()
        for old in out.glob("*.yaml"):
            if old.name not in outputs:
                old.unlink()
        for file, text in outputs.items():
            (out / file).write_text(text)
        print(f"{name}: {', '.join(sorted(outputs))}")


if __name__ == "__main__":
    sys.exit(update())
