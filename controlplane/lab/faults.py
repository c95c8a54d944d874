"""What goes wrong between a proxy and its control plane, decided by a seed.

Whether a message is hit depends on the seed, the proxy, the direction, the type of resource and the
message's number among the proxy's messages of that kind: on nothing that other proxies do, on no clock
and on no hash seed.  So a run with faults can be had again, and one proxy's faults stay the same when
another joins.

xDS counts on a stream that loses nothing and keeps order, and has no means to find out otherwise.  Some
of these faults break that promise, because broken middleboxes and buggy servers do; `Fate.lies` tells
which, and whoever plays them has to end the stream some time later, as a lost connection would.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Literal, NamedTuple

Direction = Literal["request", "response"]

NACK_CODE = 13
"""google.rpc.Code.INTERNAL: what Envoy puts into its own rejections."""
NACK_DETAIL = "rejected by fault injection"


class Message(NamedTuple):
    """One message of a stream; `type` is "cds", "eds", …, `number` counts this proxy's of it from 0.

    `accepts` says that a request is an ACK.
    """

    proxy: str
    direction: Direction
    type: str
    number: int
    accepts: bool = False


class Fate(NamedTuple):
    """What happens to a message; `wait` is in seconds and holds up what follows on the stream."""

    wait: float = 0.0
    drop: bool = False
    swap: bool = False
    """It changes places with the next response of its stream."""
    nack: bool = False
    cut: bool = False
    """The stream breaks once the message has passed."""

    @property
    def lies(self) -> bool:
        """Whether afterwards one side is wrong about the other, and only a new stream helps."""
        return self.drop or self.swap or self.nack


SPARED = Fate()


@dataclass(frozen=True, slots=True)
class Faults:
    """Which share of the messages is hit by what, each from 0 to 1; ValueError beyond."""

    seed: int = 0
    delay: float = 0.0
    """Responses that are late."""
    drop: float = 0.0
    """Responses that never arrive."""
    drop_request: float = 0.0
    """Requests that never arrive, ACKs among them."""
    reorder: float = 0.0
    """Responses that the next one overtakes."""
    nack: float = 0.0
    """ACKs that reach the server as NACKs."""
    slow_ack: float = 0.0
    """ACKs that are late."""
    cut: float = 0.0
    """Responses after which the stream breaks."""
    longest: float = 0.2
    """Seconds: how late something is at most; each wait is drawn evenly from 0 to this."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("seed", "longest") and not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name} is a share from 0 to 1, not {value}")
        if self.longest < 0:
            raise ValueError(f"longest is in seconds and not negative, not {self.longest}")

    def fate(self, message: Message) -> Fate:
        """What happens to this message; the same for the same message, always."""
        if message.direction == "response":
            return self._response(message)
        return self._request(message)

    def _response(self, message: Message) -> Fate:
        late, length, drop, swap, cut = _draws(self.seed, message, 5)
        return Fate(
            wait=length * self.longest if late < self.delay else 0.0,
            drop=drop < self.drop,
            swap=swap < self.reorder and drop >= self.drop,
            cut=cut < self.cut,
        )

    def _request(self, message: Message) -> Fate:
        drop, nack, late, length = _draws(self.seed, message, 4)
        if drop < self.drop_request:
            return Fate(drop=True)
        if not message.accepts:
            return SPARED
        return Fate(wait=length * self.longest if late < self.slow_ack else 0.0, nack=nack < self.nack)


def _draws(seed: int, message: Message, count: int) -> list[float]:
    """Numbers evenly from [0, 1) that this message alone decides; at most eight."""
    key = "\0".join((str(seed), message.proxy, message.direction, message.type, str(message.number)))
    digest = blake2b(key.encode()).digest()
    return [int.from_bytes(digest[8 * i : 8 * i + 8]) / 2**64 for i in range(count)]
