"""One call on its way: what was served, and the steps so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controlplane.base.errors import MiniIstiodError
from controlplane.envoy import pb
from controlplane.sim.call import Call
from controlplane.sim.outcome import End, Share, Step
from controlplane.sim.served import Served

_CONFIG = "config"


class CannotTell(MiniIstiodError):
    """The configuration has something that the simulator does not know and that decides."""


class Walk:
    """A call, the configuration it meets, and what was decided; `left` is how likely it is to come so far.

    `shares` are the ends it has had on the way, by chance.
    """

    __slots__ = ("alpn", "call", "delayed", "doubts", "left", "served", "shares", "steps", "target")

    def __init__(self, served: Served, call: Call) -> None:
        self.served = served
        self.call = call
        self.steps: list[Step] = []
        self.doubts: list[str] = []
        self.shares: list[Share] = []
        self.left = 1.0
        self.alpn: tuple[str, ...] = ()
        """What a filter said that the connection to the server offers."""
        self.target = ""
        """Where a filter says that the server is, "name:port", for clusters that look it up."""
        self.delayed = 0
        """What faults have it wait, in nanoseconds."""

    def step(self, at: str, name: str, why: str, config: str = "") -> None:
        """Note a decision."""
        self.steps.append(Step(at, name, why, config))

    def doubt(self, at: str, name: str, why: str) -> None:
        """Note something that might end the call; it goes on as if it did not."""
        self.step(at, name, why)
        self.doubts.append(f"{name}: {why}")

    def finish(self, end: End, probability: float = 1.0, step: Step | None = None) -> None:
        """The call ends here with this probability, of those calls that come here."""
        steps = (*self.steps, *(() if step is None else (step,)))
        if self.delayed:
            end = replace(end, delayed=self.delayed)
        self.shares.append(Share(self.left * probability, end, steps))
        self.left *= 1.0 - probability


def config_of(metadata: Any) -> str:
    """The object behind a resource, as the translators note it for Istio's tools; "" where they did not."""
    if "istio" not in metadata.filter_metadata:
        return ""
    fields = metadata.filter_metadata["istio"].fields
    return str(fields[_CONFIG].string_value) if _CONFIG in fields else ""


def unpacked(any_message: Any) -> Any | None:
    """The message in an Any; None for a type that this program has no stub of.

    CannotTell where the bytes are no such message.
    """
    try:
        return pb.unpack(any_message)
    except KeyError:
        return None
    except ValueError as error:
        raise CannotTell(f"what is packed as {kind_of(any_message)}: {error}") from error


def kind_of(any_message: Any) -> str:
    """ "envoy.extensions.filters.http.rbac.v3.RBAC" """
    return str(any_message.type_url).rpartition("/")[2]
