"""Who is told what the server does: the narrow side on which metrics and traces are hung.

Times are seconds of the server's monotonic clock.  The calls are on the push path: they must be quick
and must not raise.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.caller import Caller
from controlplane.model.proxy import Proxy
from controlplane.xds.caller import Denial
from controlplane.xds.protocol import Push
from controlplane.xds.variant import Variant
from controlplane.xds.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Connection:
    """One stream of one proxy."""

    id: str
    """Unique in this server's life: the proxy's name and namespace, and a number."""
    proxy: Proxy
    variant: Variant
    peer: str
    """The address of the other end, as gRPC writes it."""
    connected_at: float
    caller: Caller | None = None
    """Whose stream it is; None where nobody asked."""
    only: str = ""
    """The one type that the stream's service is for; "" is all."""


class PushObserver:
    """Override what you need; by default nobody watches.

    A push is planned, written, then answered by `acked` or `nacked`; or nothing, when the client is
    silent.  `push.spec.short` is its type, `push.revision` the revision it was planned from, `push.size` its
    bytes, `push.plan.upserts` and `.removed` what is in it, `push.plan.echoes` how many of those are
    unchanged.
    """

    def connected(self, connection: Connection) -> None:
        """A proxy was admitted."""

    def woken(self, connection: Connection, revision: int, at: float) -> None:
        """A feed that the proxy reads changed, or its scope did; `revision` is the newest that is settled."""

    def planned(self, connection: Connection, push: Push, took: float, at: float) -> None:
        """A response was made, in `took` seconds."""

    def written(self, connection: Connection, push: Push, at: float) -> None:
        """The transport has taken the response."""

    def stalled(self, connection: Connection, push: Push) -> None:
        """The transport has not taken the response within the write timeout, and goes on trying."""

    def untouched(self, connection: Connection, revision: int, at: float) -> None:
        """The proxy was woken and needs nothing, up to this revision."""

    def acked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        """The proxy accepted a response."""

    def nacked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        """The proxy rejected a response: `verdict.error` says why, `verdict.blamed` what is held back."""

    def expired(self, connection: Connection, type_name: str) -> None:
        """A request referred to a response that is not the newest, or to none of ours."""

    def received(self, size: int) -> None:
        """A request of so many bytes came in."""

    def denied(self, denial: Denial) -> None:
        """A stream was not let in, or not let stay."""

    def failed(self) -> None:
        """A stream ended by a fault of this program; the log has the traceback."""

    def gone(self, connection: Connection, at: float) -> None:
        """The stream ended."""
