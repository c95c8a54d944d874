"""One setting as the operator sees it, and the words in which several say what they allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as the operator sees it.  `parse` raises `ValueError` for what is not `allowed`."""

    field: str
    parse: Callable[[str], Any]
    default: str
    allowed: str
    about: str
    variable: str = ""

    @property
    def flag(self) -> str:
        return "--" + self.field.replace("_", "-")


DURATION = 'a duration such as "100ms" or "1m30s"'
BOOLEAN = "true or false"
ADDRESSES = 'HOST:PORT or unix:/PATH; several with commas or by repeating the flag; "" for none'
