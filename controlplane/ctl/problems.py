"""problems: everything that is wrong with the input now, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from controlplane.ctl.terminal import harmless

_RANKS = {"error": 0, "warning": 1, "info": 2}
_COLOURS = {"error": "red", "warning": "yellow"}


def ordered(problems: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Errors, then warnings, then advice; those of a level stay in their order."""
    return sorted(problems, key=lambda one: _RANKS.get(str(one.get("level")), len(_RANKS)))


def table(problems: Sequence[Mapping[str, Any]]) -> Table:
    """One row per problem."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("LEVEL", "OBJECT", "PLACE", "MESSAGE", "REMEDY"):
        found.add_column(column, overflow="fold")
    for one in problems:
        level = _said(one, "level")
        found.add_row(
            Text(harmless(level).plain, style=_COLOURS.get(level, "")),
            *(harmless(cell) for cell in (_object(one), _place(one), _message(one), _said(one, "remedy"))),
        )
    return found


def paragraphs(problems: Sequence[Mapping[str, Any]]) -> Group:
    """The same for a terminal, where a command in a narrow column could not be copied."""
    lines: list[Text] = []
    for one in problems:
        level = _said(one, "level")
        head = (_object(one), f"({_place(one)})" if _place(one) else "")
        lines += (
            Text(harmless(level).plain, style=_COLOURS.get(level, "")).append(
                harmless(" ".join(("", *filter(None, head))))
            ),
            harmless(f"  {_message(one)}"),
            harmless(f"  remedy: {_said(one, 'remedy')}"),
        )
    return Group(*lines)


def _said(problem: Mapping[str, Any], key: str) -> str:
    found = problem.get(key)
    return "" if found is None else str(found)


def _object(problem: Mapping[str, Any]) -> str:
    """Kind and name as kubectl's users write them: "VirtualService default/reviews"."""
    name = "/".join(part for part in (_said(problem, "namespace"), _said(problem, "name")) if part)
    return " ".join(part for part in (_said(problem, "kind"), name) if part)


def _place(problem: Mapping[str, Any]) -> str:
    return ":".join(part for part in (_said(problem, "file"), _said(problem, "line")) if part)


def _message(problem: Mapping[str, Any]) -> str:
    return ": ".join(part for part in (_said(problem, "field"), _said(problem, "message")) if part)
