"""Failures: what is stored where a query raised.

A failure travels unchanged: whoever reads a failed node fails with the *same* failure.  Messages do
not grow on the way, and a circle of failing nodes comes to rest.

All nodes of a circle fail, wherever it was entered.  So whatever depends on *all* children of a map,
its keys, contents, groups, fails where one of them is part of a circle: it would be, too.
"""

from __future__ import annotations

import traceback

from controlplane.base.errors import CycleError, QueryFailed


class Failure:
    """The stored outcome of a query that raised; equal when type and text are equal, or both circles.

    `node` is where it was raised.  The exception is kept without its traceback, which would keep the
    frames, and by them half of the graph, alive; `trace` remembers the lines.
    """

    __slots__ = ("cause", "node", "trace")

    def __init__(self, node: str, cause: BaseException) -> None:
        self.node = node
        self.trace = traceback.TracebackException.from_exception(cause, lookup_lines=False, compact=True)
        self.cause = cause.with_traceback(None)
        cause.__context__ = cause.__cause__ = None

    @property
    def circular(self) -> bool:
        """Whether a circle of queries is the reason."""
        return isinstance(self.cause, CycleError)

    def error(self) -> QueryFailed:
        """The exception for whoever reads the failed node."""
        return _Relayed(self)

    def where(self) -> str:
        """The traceback as text; its lines are read from the files when asked."""
        return "".join(self.trace.format())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Failure):
            return NotImplemented
        if self.circular or other.circular:
            # A circle looks different from each of its nodes; it has to come to rest nevertheless.
            return self.circular and other.circular
        return type(self.cause) is type(other.cause) and str(self.cause) == str(other.cause)

    def __hash__(self) -> int:
        return hash(type(self.cause))

    def __repr__(self) -> str:
        return f"Failure({self.node}: {self.cause!r})"


class _Relayed(QueryFailed):
    """Raised where a failed node is read; carries the failure itself on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.node, failure.cause)
        self.failure = failure


def failure_of(node: str, error: Exception) -> Failure:
    """The failure of a node in which `error` was raised: its origin's, where it read a failed one."""
    return error.failure if isinstance(error, _Relayed) else Failure(node, error)
