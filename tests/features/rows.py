"""The rows of the table: `<Kind>.tsv`, one line for a field or for several that braces spell out.

A line is `path<TAB>status<TAB>tests<TAB>note`.  `{a,b}.c` are two paths.  Tests are `golden:<case>`, whose
objects then set the field, or `tests/….py::test_name`.  A field that is not supported says why, and what to
do instead.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SUPPORTED, UNSUPPORTED, NOT_APPLICABLE = "supported", "unsupported", "n/a"
STATUSES = (SUPPORTED, UNSUPPORTED, NOT_APPLICABLE)
KINDS = (
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "WorkloadEntry",
    "WorkloadGroup",
    "Sidecar",
    "EnvoyFilter",
    "ProxyConfig",
    "MeshConfig",
)
_BRACES = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one field.  `where` is its file and line, for messages."""

    path: str
    status: str
    tests: tuple[str, ...]
    note: str
    where: str


def expand(path: str) -> list[str]:
    """The paths that braces spell out; `{}` marks a map and is left alone."""
    parts = _BRACES.split(path)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def rows(kind: str, folder: Path = HERE) -> list[Row]:
    """The rows of a kind, in the order of their paths; none where nothing is said of it yet."""
    file = folder / f"{kind}.tsv"
    found: list[Row] = []
    for number, line in enumerate(file.read_text().splitlines() if file.exists() else (), 1):
        if not line or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        path, status, tests, note = cells + [""] * (4 - len(cells))
        where = f"{file.name}:{number}"
        found += [Row(one, status, tuple(tests.split()), note, where) for one in expand(path)]
    return sorted(found, key=lambda row: row.path)
