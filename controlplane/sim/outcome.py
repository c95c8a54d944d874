"""Where a call ends: one end, or several with their shares of all such calls, each with the way there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from controlplane.sim.call import Tls

Kind = Literal["http", "tcp", "answer", "closed", "bypass", "waits", "unknown"]
"""What becomes of a call.

http     a request goes on to a host of a cluster
tcp      the bytes of the connection go on to a host of a cluster
answer   the proxy answers the request by itself
closed   the proxy closes the connection
bypass   the connection never reaches the proxy
waits    nothing happens: each side waits for the other
unknown  something decides that the simulator does not know; `details` says what
"""


class Step(NamedTuple):
    """One decision: at which kind of thing, its name, why it was taken, and the object behind it ("")."""

    at: str
    name: str
    why: str
    config: str = ""


class Host(NamedTuple):
    """An endpoint: "address:port", its share of the cluster's traffic, and how it is spoken to."""

    address: str
    share: float
    priority: int = 0
    locality: str = ""
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class End:
    """One way in which a call ends.

    `status`, `flags` and `details` are those of Envoy's access log, where the proxy itself ends the call
    (None, "" and "" where it does not).  `path`, `authority` and `headers` are what the server gets: of the
    headers those that the client sent and that routes change.  Of a connection `authority` is what a tunnel
    is asked for.  `http2`: the server is spoken to in HTTP/2.  `delayed` are nanoseconds that a fault adds.
    """

    kind: Kind
    status: int | None = None
    flags: str = ""
    details: str = ""
    cluster: str = ""
    route: str = ""
    hosts: tuple[Host, ...] = ()
    path: str = ""
    authority: str = ""
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    location: str = ""
    body: bytes = b""
    mirrors: tuple[str, ...] = ()
    http2: bool = False
    delayed: int = 0


class Share(NamedTuple):
    """An end, how likely it is (0 to 1), and the steps to it."""

    probability: float
    end: End
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every end that a call may have; probabilities add up to 1.

    `doubts` are things on the way that might end the call, and that nobody can know who sees only the
    configuration: an authorization service, a rate limit, a filter that the simulator does not know.
    """

    shares: tuple[Share, ...]
    doubts: tuple[str, ...] = ()

    @property
    def end(self) -> End:
        """The likeliest end; of equally likely ones the first."""
        return max(self.shares, key=lambda share: share.probability).end

    @property
    def steps(self) -> tuple[Step, ...]:
        """The way to the likeliest end."""
        return max(self.shares, key=lambda share: share.probability).steps

    def clusters(self) -> dict[str, float]:
        """Cluster -> the share of calls that it gets; what ends earlier is under ""."""
        found: dict[str, float] = {}
        for share in self.shares:
            name = share.end.cluster if share.end.kind in ("http", "tcp") else ""
            found[name] = found.get(name, 0.0) + share.probability
        return found
