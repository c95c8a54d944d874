"""Those who were certified on request: what they hold cannot be renewed from here, only waited for.

A proxy on a stream is given a new certificate when the authority changes.  Who made a request
comes again at a time of its own, and hears of new roots only then.  So a change of root waits for it until it
has come, or until what it holds has expired.  This is known in memory only: a control plane that starts
anew knows of those who came since.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.base.clock import Clock
from controlplane.ca.authority import Authority
from controlplane.ca.signer import fingerprint
from controlplane.model.caller import host_of
from controlplane.model.identity import Identity

_State = tuple[str, ...]


class _Given(NamedTuple):
    not_after: float
    state: _State


class Outstanding:
    """Notes every certificate that was given on request; one holder is an identity at an address."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._given: dict[str, _Given] = {}

    def note(self, identity: Identity, peer: str, not_after: float) -> None:
        """A certificate was given; `peer` in gRPC's form, `not_after` in Unix seconds."""
        self._given[f"{identity.spiffe} at {host_of(peer)}"] = _Given(not_after, self._state())

    def behind(self) -> tuple[str, ...]:
        """Who holds, and may still use, what does not follow from the authority as it is now; sorted."""
        now, state = self._clock.wall(), self._state()
        self._given = {who: given for who, given in self._given.items() if given.not_after > now}
        return tuple(sorted(who for who, given in self._given.items() if given.state != state))

    def _state(self) -> _State:
        authority = self._authority
        return tuple(map(fingerprint, (authority.signer.root, *authority.roots)))
