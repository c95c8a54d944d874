"""How a patch changes a list of named things: filters of a chain, routes of a virtual host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Same: TypeAlias = Callable[[Any], bool]
"""Whether an element is the one that a patch names."""


def change_list(items: Any, operation: str, value: Any, same: Same | None) -> None:
    """Apply one operation other than a merge to a repeated field; `same` None: the patch names no element.

    Without a name INSERT_BEFORE is at the beginning and INSERT_AFTER at the end; with one that is not there
    nothing happens.  REMOVE and REPLACE need one; REMOVE takes out all that have it.
    """
    if operation == "ADD" or (operation == "INSERT_AFTER" and same is None):
        items.append(value)
    elif operation == "INSERT_FIRST" or (operation == "INSERT_BEFORE" and same is None):
        items.insert(0, value)
    elif same is not None:
        _at_named(items, operation, value, same)


def _at_named(items: Any, operation: str, value: Any, same: Same) -> None:
    found = [index for index, item in enumerate(items) if same(item)]
    if not found:
        return
    if operation == "REMOVE":
        for index in reversed(found):
            del items[index]
    elif operation == "REPLACE":
        items[found[0]].CopyFrom(value)
    elif operation == "INSERT_BEFORE":
        items.insert(found[0], value)
    elif operation == "INSERT_AFTER":
        # Several in a row are one: authorization is three filters of one name.
        together = (index for index, at in enumerate(found) if at == found[0] + index)
        items.insert(found[max(together)] + 1, value)


def same_name(wanted: str) -> Same | None:
    """Elements of this name, or of the one that Envoy gave it later; None for "", which names nothing.

    Before its third API Envoy called envoy.filters.http.router "envoy.router", and listener filters
    "envoy.listener.tls_inspector".  What Istio calls envoy.filters.http.rbac are several here, with a word
    more each.
    """
    if not wanted:
        return None
    parts = wanted.split(".")
    short = _RENAMED.get(parts[-1], parts[-1])
    old = parts[0] == "envoy" and (len(parts) == 2 or parts[1:-1] == ["listener"])

    def same(item: Any) -> bool:
        name: str = item.name
        return (
            name == wanted
            or name.startswith(f"{wanted}.")
            or (old and name.startswith("envoy.filters.") and name.endswith(f".{short}"))
        )

    return same


_RENAMED = {"rate_limit": "ratelimit", "http_dynamo_filter": "dynamo"}
