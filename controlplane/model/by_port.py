"""Maps whose keys are ports: Istio's API writes them as numbers, and JSON has only strings for keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TypeVar

from controlplane.model.describe import printable
from controlplane.model.reader import Reader

T = TypeVar("T")

_LONGEST = len("65535")


def messages_by_port(r: Reader, name: str, parse: Callable[[Reader], T]) -> tuple[tuple[int, T], ...]:
    """A map of port numbers to messages, as pairs sorted by port."""
    raw = r.value(name)
    if isinstance(raw, Mapping):
        # YAML leaves such keys numbers.  (A huge one stays what it is: writing it out is slow, and refused.)
        plain = {str(key) if type(key) is int and abs(key) < 10**6 else key: raw[key] for key in raw}
        found = Reader({name: plain}, r.path, r.report).messages_by_name(name, parse)
    else:
        found = r.messages_by_name(name, parse)
    ports: dict[int, T] = {}
    for key, value in found:
        if _is_port(key):
            ports[int(key)] = value
        else:
            r.error(f"{name}[{printable(key)}]", "is no port", "write a number from 1 to 65535")
    return tuple(sorted(ports.items(), key=itemgetter(0)))


def _is_port(text: str) -> bool:
    plain = text.isascii() and text.isdigit() and len(text) <= _LONGEST and not text.startswith("0")
    return plain and int(text) <= 65535
