"""What a kind is: its names in the API, its parser and its table."""

from __future__ import annotations

from typing import Any

from controlplane.model.keys import Key


def by_namespace(key: Key, _value: Any) -> tuple[str, ...]:
    """The index function "namespace"."""
    return (key.namespace,)


def namespace_of(key: Key) -> str:
    """The namespace that a row is selected in."""
    return key.namespace
