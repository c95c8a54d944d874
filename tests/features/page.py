"""docs/features.md, as the rows have it."""

from __future__ import annotations

from collections import Counter

from tests.features.rows import KINDS, ROOT, STATUSES, Row, rows

PAGE = ROOT / "docs/features.md"
_HEAD = """# Features: every field of Istio's networking API

What becomes of each field of the kinds below, with a stock Envoy.  A field is

- **supported**: it does what Istio's documentation says; the test beside it shows it,
- **unsupported**: it has no effect, and an object that sets it
  [is told so](debugging.md#debugproblems),
- **n/a**: it has no meaning here, or nothing is to be done for it.

`golden:` cases are folders of objects and of what is served for them; `tests/envoy` run a real Envoy.
`[]` stands for the elements of a list, `{}` for the values of a map.  Written by
`python -m tests.features` from `tests/features/*.tsv`, which a test compares with the definitions.
"""


def counts() -> list[str]:
    """How many fields of each kind have which status, as a table."""
    lines = [
        "| Kind | " + " | ".join(STATUSES) + " | all |",
        "|---" + "|---:" * (len(STATUSES) + 1) + "|",
    ]
    total: Counter[str] = Counter()
    for kind in KINDS:
        found = Counter(row.status for row in rows(kind))
        total += found
        lines.append(_counted(f"[{kind}](#{kind.lower()})", found))
    return [*lines, _counted("all", total)]


def _counted(name: str, found: Counter[str]) -> str:
    numbers = [*(found[status] for status in STATUSES), found.total()]
    return f"| {name} | " + " | ".join(map(str, numbers)) + " |"


def page() -> str:
    """The whole page."""
    parts = [_HEAD, *counts()]
    for kind in KINDS:
        parts += ["", f"## {kind}", "", "| Field | Status | Shown by | Note |", "|---|---|---|---|"]
        parts += [_line(row) for row in rows(kind)]
    return "\n".join(parts) + "\n"


def _line(row: Row) -> str:
    shown = ", ".join(map(_link, row.tests))
    return f"| `{row.path}` | {row.status} | {shown} | {row.note.replace('|', chr(92) + '|')} |"


def _link(test: str) -> str:
    if case := test.partition("golden:")[2]:
        return f"[{case}](../tests/golden/{case}/in.yaml)"
    file, _, name = test.partition("::")
    return f"[{name}](../{file})"
