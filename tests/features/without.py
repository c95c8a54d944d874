"""Objects without one of their fields, or with another value of it: so the rows of the table are proved.

A case shows that a field is supported if what is served for it, or what is said of it, is something else as
soon as the field is gone from all objects of the kind.  Where they are refused without it, that shows only
that it has to be there: then another value has to make a difference, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from tests.features.rows import KINDS, SUPPORTED, rows
from tests.golden.harness import Case, objects_of

Edit = Callable[[dict[str, Any], str], None]


class Outcome(NamedTuple):
    """What comes of a case: bodies by type and name, and the Problems."""

    served: dict[str, dict[str, bytes]]
    problems: list[dict[str, Any]]

    @property
    def refused(self) -> frozenset[tuple[str, str, str]]:
        """The objects that are not used, or not as they are: kind, namespace, name."""
        return frozenset(
            (one["kind"], one["namespace"], one["name"]) for one in self.problems if one["level"] == "error"
        )


def shows(case: str, kind: str, path: str) -> bool:
    """Whether a case depends on a field of the objects of a kind."""
    before, without = outcome(case), _edited(case, kind, path, _drop)
    if without == before:
        return False
    return without.refused <= before.refused or _edited(case, kind, path, _alter) != before


def proofs() -> Iterator[tuple[str, str, str]]:
    """Case, kind and path of everything that a case is said to show."""
    for kind in KINDS:
        for row in rows(kind):
            cases = (test.partition("golden:")[2] for test in row.tests)
            if row.status == SUPPORTED:
                yield from ((case, kind, row.path) for case in cases if case)


_objects = cache(objects_of)


@cache
def outcome(case: str) -> Outcome:
    """What comes of a case as it is."""
    return _outcome(Case(case))


def edit(spec: Any, path: str, do: Edit) -> None:
    """Do something to a field, in all elements of the lists and maps on the way to it."""
    name, _, rest = path.partition(".")
    plain = name.removesuffix("[]").removesuffix("{}")
    if not isinstance(spec, dict) or plain not in spec:
        return
    if not rest:
        do(spec, plain)
        return
    value = spec[plain]
    if name.endswith("[]"):
        inner = value or []
    elif name.endswith("{}"):
        inner = list((value or {}).values())
    else:
        inner = [value]
    for one in inner:
        edit(one, rest, do)


def _edited(case: str, kind: str, path: str, do: Edit) -> Outcome:
    found = [_unshared(raw) for raw in _objects(case)]
    for raw in found:
        if raw is not None and raw["kind"] == kind:
            edit(raw if kind == "MeshConfig" else raw.get("spec"), path, do)
    return _outcome(Case(case, objects=found))


def _unshared(value: Any) -> Any:
    """A copy in which nothing is in two places: where YAML has an alias, it would be edited twice."""
    if isinstance(value, dict):
        return {name: _unshared(one) for name, one in value.items()}
    return [_unshared(one) for one in value] if isinstance(value, list) else value


def _drop(message: dict[str, Any], name: str) -> None:
    del message[name]


def _alter(message: dict[str, Any], name: str) -> None:
    message[name] = altered(message[name])


def altered(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list):
        return [altered(value[0]), *value[1:]] if value else value
    return {name: altered(one) for name, one in value.items()}


def _outcome(case: Case) -> Outcome:
    found = case.resources.items()
    served = {url: {name: one.body for name, one in resources.items()} for url, resources in found}
    return Outcome(served, case.problems)
