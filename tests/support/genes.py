"""Where drawn objects come from: the golden cases, crossed with each other.

Every supported leaf of every kind is set in some golden case (tests/unit/test_features.py demands it): what
is cut out of them and put together anew knows every feature.  A cross takes a part of one object to the same
place of another, or a host, a selector or a namespace of one object to where another names one: so objects
meet that were written apart.
"""

from __future__ import annotations

import copy
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import yaml

from tests.golden.harness import CASES, HERE

Raw: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]

NAMESPACES = ("default", "shop", "edge", "istio-system")
"""All that drawn objects live in; the namespaces of the cases fall together in these."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HOSTS = frozenset({"host", "hosts", "egressProxy", "sniHosts"})
_LABELS = frozenset({"labels", "selector", "matchLabels", "sourceLabels"})
_IDENTITY = frozenset({"apiVersion", "kind"})
_SECRETS = frozenset({"credentialName", "credentialNames", "caCertCredentialName"})
_FEW = 0.35


@cache
def cases() -> Mapping[str, Sequence[Raw]]:
    """The objects of each golden case, moved into NAMESPACES."""
    found: dict[str, Sequence[Raw]] = {}
    for name in CASES:
        documents = yaml.load_all((HERE / name / "in.yaml").read_text(), _LOADER)
        found[name] = [_moved(one) for one in documents if one is not None]
    return found


@cache
def nodes() -> Mapping[str, Raw]:
    """The proxy of each golden case, moved likewise."""
    return {name: _moved(yaml.load((HERE / name / "proxy.yaml").read_text(), _LOADER)) for name in CASES}


@cache
def _namespace(name: str) -> str:
    if name in NAMESPACES:
        return name
    return NAMESPACES[sum(name.encode()) % 3]


@cache
def _elsewhere() -> re.Pattern[str]:
    """A namespace of some case, where it stands in a host, a reference, an identity or an id."""
    names: set[str] = set()
    for name in CASES:
        text = (HERE / name / "in.yaml").read_text() + (HERE / name / "proxy.yaml").read_text()
        names.update(re.findall(r"(?i:namespace): \"?([a-z][-a-z0-9]*)", text))
    joined = "|".join(sorted(names, key=lambda one: (-len(one), one)))
    return re.compile(
        rf"(?<=\.)(?:{joined})(?=\.svc|~)|^(?:{joined})(?=/)|(?<=/ns/)(?:{joined})(?=/)|(?<=~)(?:{joined})(?=\.svc)"
    )


def _moved(value: Any, key: str = "") -> Any:
    """The same with its namespaces among NAMESPACES."""
    if isinstance(value, dict):
        named = value.get("kind") == "Namespace"
        made = {name: _moved(one, name) for name, one in value.items()}
        if named:
            made["metadata"]["name"] = _namespace(value["metadata"]["name"])
        return made
    if isinstance(value, list):
        return [_moved(one, key) for one in value]
    if not isinstance(value, str):
        return value
    if key in ("namespace", "NAMESPACE", "sourceNamespace", "rootNamespace", "exportTo") and value.isascii():
        return _namespace(value) if re.fullmatch(r"[a-z][-a-z0-9]*", value) else value
    return _elsewhere().sub(lambda found: _namespace(found[0]), value)


@cache
def _genes() -> Mapping[tuple[str, Path], Sequence[Any]]:
    """What stands at a path of a kind, in all cases."""
    found: dict[tuple[str, Path], list[Any]] = defaultdict(list)
    for objects in cases().values():
        for one in objects:
            for path, _, _, value in _parts(one):
                found[one["kind"], path].append(value)
    return found


def _parts(raw: Raw) -> Iterator[tuple[Path, Any, Any, Any]]:
    """(path, container, key, value) of everything that may be exchanged; elements of lists are "[]"."""
    todo: list[tuple[Path, Any]] = [((), raw)]
    while todo:
        path, value = todo.pop()
        entries: list[tuple[Path, Any, Any]] = []
        if isinstance(value, dict):
            entries = [((*path, str(key)), key, one) for key, one in value.items()]
        elif isinstance(value, list):
            entries = [((*path, "[]"), number, one) for number, one in enumerate(value)]
        for below, key, one in entries:
            if below[0] not in _IDENTITY and below[:2] not in (
                ("metadata", "name"),
                ("metadata", "namespace"),
            ):
                if below != ("metadata",):
                    yield below, value, key, one
                todo.append((below, one))


def crossed(pick: random.Random, raw: Raw, near: Sequence[Raw]) -> Raw:
    """A child of `raw` and of others; `near` are the objects of its mesh.  It need not be valid."""
    made = copy.deepcopy(raw)
    for _ in range(pick.choice((1, 1, 1, 2, 4))):
        parts = sorted(_parts(made), key=lambda part: part[0])
        if not parts:
            return made
        if pick.random() < _FEW and _aligned(pick, parts, near):
            continue
        path, container, key, value = pick.choice(parts)
        act = pick.random()
        others = _genes().get((made["kind"], path), ())
        if act < 0.15:
            del container[key]
        elif act < 0.3 and isinstance(container, list):
            container.insert(
                pick.randrange(len(container) + 1), copy.deepcopy(pick.choice(others or [value]))
            )
        elif act < 0.5 and isinstance(value, dict):
            mate = pick.choice(others or [value])
            for name in sorted(mate, key=str) if isinstance(mate, dict) else ():
                if pick.random() < 0.5:
                    value[name] = copy.deepcopy(mate[name])
        elif others:
            container[key] = copy.deepcopy(pick.choice(others))
    return made


def _aligned(pick: random.Random, parts: Sequence[tuple[Path, Any, Any, Any]], near: Sequence[Raw]) -> bool:
    """Let the object name a host, or select by labels, that others of its mesh have."""
    wanted = [part for part in parts if _names(part[0], _HOSTS) or _names(part[0], _LABELS)]
    wanted = [part for part in wanted if isinstance(part[3], str if _names(part[0], _HOSTS) else dict)]
    if not wanted or not near:
        return False
    path, container, key, _ = pick.choice(wanted)
    found = hosts_of(pick.choice(near)) if _names(path, _HOSTS) else labels_in(pick.choice(near))
    if found:
        container[key] = copy.deepcopy(pick.choice(found))
    return bool(found)


def _names(path: Path, words: frozenset[str]) -> bool:
    return path[-1] in words or (path[-1] == "[]" and len(path) > 1 and path[-2] in words)


def hosts_of(raw: Raw) -> list[str]:
    """Hosts that an object has or names."""
    meta = raw.get("metadata", {})
    if raw["kind"] == "Service":
        namespace = meta.get("namespace", "default")
        return [meta["name"], f"{meta['name']}.{namespace}.svc.cluster.local"]
    parts = _parts(raw)
    return sorted({value for path, _, _, value in parts if _names(path, _HOSTS) and isinstance(value, str)})


def labels_in(raw: Raw) -> list[dict[str, str]]:
    """Labels that an object has, or asks for."""
    return [
        value
        for path, _, _, value in sorted(_parts(raw), key=lambda part: part[0])
        if path[-1] in _LABELS
        and isinstance(value, dict)
        and all(isinstance(one, str) for one in value.values())
    ]


def credentials(raw: Raw) -> list[str]:
    """Names of Secrets that an object asks for."""
    parts = _parts(raw)
    return [
        value for path, _, _, value in parts if _names(path, _SECRETS) and isinstance(value, str) and value
    ]


def leaves(raw: Raw) -> set[Path]:
    """The paths of everything that an object says, without what is in between."""
    return {path for path, _, _, value in _parts(raw) if not isinstance(value, dict | list)}
