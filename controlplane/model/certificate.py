"""Certificates as values: what an authority issues, and what everybody trusts.

They are inputs of the graph like any object, so a renewal is a change that pushes one secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Certified:
    """A key and its certificate.  Times are Unix seconds; `serial` is in hexadecimal digits."""

    chain: bytes
    """PEM: the leaf first, then what leads to the root, without the root."""
    key: bytes = field(repr=False)
    """PEM of the private key.  It is never written to a disk, a log or a recording."""
    serial: str
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The roots that are trusted, PEM each, in the order in which they were made."""

    roots: tuple[bytes, ...]
