"""The authority: it signs, it says who is trusted, and it tells when either changes.

Whom a certificate is for is decided by the caller, who knows the identity; how long it holds is decided
here.  A lifetime above the maximum is refused, as in Istio; one that would outlive the signer ends with
it, because no verifier would take the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509

from controlplane.base.clock import Clock
from controlplane.ca.keys import KeyType, PrivateKey, PublicKey, key_pem, new_key, weakness
from controlplane.ca.leaf import Names, leaf
from controlplane.ca.refused import Refused
from controlplane.ca.signer import BACKDATED, Signer, fingerprint, pem
from controlplane.model.certificate import Certified, TrustBundle

_log = logging.getLogger(__name__)

_HOUR = 3600.0
# What is signed with less than this left would have to be renewed before it arrives.
_LEAST = 10.0


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long leaves hold, in seconds: `default` unless asked otherwise, never more than `maximum`."""

    default: float = 24 * _HOUR
    maximum: float = 2160 * _HOUR


class Change(NamedTuple):
    """What is new: who signs (every leaf should be issued again), who is trusted (the roots go out)."""

    signer: bool
    bundle: bool


class Signed(NamedTuple):
    """A certificate without its key: PEM each, leaf first, without the root; times in Unix seconds."""

    certificates: tuple[bytes, ...]
    serial: str
    not_before: float
    not_after: float


class Authority:
    """Issues and signs with `signer`; trusts the roots in `roots`, which has the signer's.

    `key_type` is what keys are made of unless asked otherwise.  It is used from one thread.
    """

    def __init__(
        self,
        signer: Signer,
        roots: Sequence[x509.Certificate],
        *,
        clock: Clock,
        lifetimes: Lifetimes = Lifetimes(),
        key_type: KeyType = "ec",
    ) -> None:
        self._clock = clock
        self._lifetimes = lifetimes
        self._key_type = key_type
        self._listeners: list[Callable[[Change], None]] = []
        self._signer = signer
        self._roots = _with(signer, roots)
        self._chain = tuple(map(pem, signer.chain))
        self._bundle = TrustBundle(tuple(map(pem, self._roots)))

    @property
    def signer(self) -> Signer:
        """Who signs now."""
        return self._signer

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """Who is trusted now, oldest first."""
        return self._roots

    @property
    def chain(self) -> tuple[bytes, ...]:
        """PEM each: what a leaf is sent with, from the signer to below the root; none for a root."""
        return self._chain

    @property
    def root(self) -> bytes:
        """PEM of the root that the signer's chain ends in."""
        return pem(self._signer.root)

    @property
    def bundle(self) -> TrustBundle:
        """Who is trusted now, as a value."""
        return self._bundle

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Call back at each later change, when the new state is in force; in the order of asking."""
        self._listeners.append(callback)

    def replace(self, signer: Signer, roots: Sequence[x509.Certificate]) -> Change:
        """Sign with `signer` and trust `roots` from now on; tells who listens, unless nothing is new."""
        roots = _with(signer, roots)
        change = Change(signer.certificate != self._signer.certificate, roots != self._roots)
        chain_is_new = signer.chain != self._signer.chain
        if not any(change) and not chain_is_new:
            return change
        # A new way to the same root is part of what leaves are sent with.
        change = Change(change.signer or chain_is_new, change.bundle)
        self._signer, self._roots = signer, roots
        self._chain = tuple(map(pem, signer.chain))
        self._bundle = TrustBundle(tuple(map(pem, roots)))
        _log.info(
            "the authority has changed",
            extra={"signer": fingerprint(signer.certificate)[:16], "roots": len(roots)},
        )
        for listener in self._listeners:
            listener(change)
        return change

    @property
    def slow(self) -> bool:
        """Whether keys take long to make: a tenth of a second for RSA, a hundredth of a millisecond else."""
        return self._key_type == "rsa"

    def new_key(self) -> PrivateKey:
        """A key for a leaf.  This may be asked from any thread, and leaves the others in peace."""
        return new_key(self._key_type)

    def issue(
        self,
        uris: Sequence[str],
        *,
        dns: Sequence[str] = (),
        ips: Sequence[str] = (),
        lifetime: float = 0.0,
        key: PrivateKey | None = None,
    ) -> Certified:
        """A key and its certificate for these names.  `lifetime` in seconds, 0 for the default; `key` is one
        of `new_key` that was made before, where there is one.

        Raises `Refused`: the lifetime is above the maximum, a name cannot be written, the signer is at
        its end.
        """
        key = key or self.new_key()
        names = Names(tuple(uris), tuple(dns), tuple(ips))
        signed = self.sign(key.public_key(), names, lifetime)
        return Certified(
            b"".join(signed.certificates), key_pem(key), signed.serial, signed.not_before, signed.not_after
        )

    def sign(self, key: PublicKey, names: Names, lifetime: float = 0.0) -> Signed:
        """A certificate for somebody else's key.  As `issue`; weak keys are refused too."""
        weak = weakness(key)
        if weak:
            raise Refused("CSR_ERROR", f"the key cannot be certified: {weak}")
        now = self._clock.wall()
        until = self._until(now, lifetime)
        try:
            made = leaf(self._signer, key, names, now - BACKDATED, until)
        except ValueError as error:
            raise Refused("CSR_ERROR", f"the names cannot be certified: {error}") from error
        return Signed(
            (pem(made), *self._chain),
            f"{made.serial_number:x}",
            made.not_valid_before_utc.timestamp(),
            made.not_valid_after_utc.timestamp(),
        )

    def _until(self, now: float, lifetime: float) -> float:
        lifetime = lifetime if lifetime > 0 else self._lifetimes.default
        if lifetime > self._lifetimes.maximum:
            raise Refused(
                "TTL_ERROR",
                f"{lifetime:g} seconds are asked for; at most {self._lifetimes.maximum:g} are given",
            )
        end = self._signer.not_after
        if end - now < _LEAST:
            raise Refused("CA_NOT_READY", "the authority's own certificate is at its end")
        return min(now + lifetime, end)


def _with(signer: Signer, roots: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    found = tuple(dict.fromkeys(roots))
    if signer.root not in found:
        raise ValueError("the signer's root is not among the roots that are trusted")
    return found
