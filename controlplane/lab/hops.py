"""Who asked whom, and as whom: what the answers of the bookstore tell of the connections between its pods.

Every service repeats the SPIFFE ID that its sidecar found in the caller's certificate.  A hop without one
came in plaintext: nobody knows who that was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from controlplane.model.identity import Identity

OUTSIDER, INGRESS = "outsider", "ingress"
"""A workload that is no part of the mesh: it has no sidecar, so nobody can know it; and the gateway."""


class Hop(NamedTuple):
    """One service asked another, which answered; `caller` is the SPIFFE ID it saw, "" for none."""

    asker: str
    service: str
    caller: str

    @property
    def expected(self) -> str:
        """The SPIFFE ID that the asker has."""
        if self.asker == OUTSIDER:
            return ""
        return Identity("cluster.local", "bookstore", f"bookstore-{self.asker}").spiffe


def hops(results: Iterable[Mapping[str, Any]], asker: str) -> Counter[Hop]:
    """Every hop behind these answers, and how often."""
    return Counter(
        hop for result in results if isinstance(result["body"], dict) for hop in _below(asker, result["body"])
    )


def unexpected(found: Counter[Hop]) -> tuple[str, ...]:
    """A sentence for each kind of hop whose caller was somebody else, or nobody, or should be nobody."""
    return tuple(
        f"{count} x {hop.service} was asked by {hop.caller or 'nobody known'}"
        f" where {hop.asker} is {hop.expected or 'nobody known'}"
        for hop, count in sorted(found.items())
        if hop.caller != hop.expected
    )


def told(found: Counter[Hop]) -> tuple[str, ...]:
    """ "mutual TLS: client → productpage 200, …", and the same for plaintext, where there is any."""
    lines = []
    for how, mutual in (("mutual TLS", True), ("plaintext", False)):
        parts = [
            f"{hop.asker} → {hop.service} {count}"
            for hop, count in sorted(found.items())
            if bool(hop.caller) == mutual
        ]
        if parts:
            lines.append(f"{how}: {', '.join(parts)}")
    return tuple(lines)


def _below(asker: str, answer: Mapping[str, Any]) -> Iterator[Hop]:
    if "version" not in answer:
        return  # an error: the one who was asked did not get to say who asked
    yield Hop(asker, str(answer["name"]), str(answer.get("caller", "")))
    for further in answer["hops"]:
        yield from _below(str(answer["name"]), further)
