"""What an HTTP rule of a VirtualService looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controlplane.model.keys import Labels


@dataclass(frozen=True, slots=True)
class StringMatch:
    """A test of one string; "present" (an empty match) asks only that there is one, its `value` is ""."""

    kind: Literal["exact", "prefix", "regex", "present"]
    value: str = ""


@dataclass(frozen=True, slots=True)
class HTTPMatchRequest:
    """All of its conditions must hold; those left None or empty always do.

    `headers`, `without_headers` and `query_params` are (name, match) pairs sorted by name.
    """

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    port: int | None = None
    source_labels: Labels = ()
    gateways: tuple[str, ...] = ()
    query_params: tuple[tuple[str, StringMatch], ...] = ()
    ignore_uri_case: bool = False
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    source_namespace: str | None = None
    stat_prefix: str | None = None
