"""The exception tree.

Exceptions are for faults of this program, of its environment or of a peer.  A user's mistake in an
object is never an exception: it is a `controlplane.model.problem.Problem`, reported and survived.
"""

from __future__ import annotations


class MiniIstiodError(Exception):
    """The root of everything that this package raises on purpose."""


class SettingsError(MiniIstiodError):
    """A flag or an environment variable has a value that cannot be used; the message names it."""


class ProtocolError(MiniIstiodError):
    """A peer broke the xDS protocol or sent a node that cannot be understood."""


class Unauthenticated(MiniIstiodError):
    """A caller's credential is missing or not good; the message says why and never holds the credential.

    `cause` is the same in one word, of a few: it is counted.  `account` ("namespace/name") is whose it was,
    and `token` which, where the signature was good: what is not good may still be known.
    """

    def __init__(self, cause: str, reason: str, account: str = "", token: str = "") -> None:
        super().__init__(reason)
        self.cause = cause
        self.account = account
        self.token = token


class Denied(MiniIstiodError):
    """A caller is known and claims what is another's; `cause` is why, in one word."""

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class GraphError(MiniIstiodError):
    """The incremental graph was used wrongly, or a query broke one of its rules."""


class CycleError(GraphError):
    """A query depends on itself; `path` is the chain of queries that closes the circle."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__("queries depend on each other in a circle: " + " -> ".join(path))
        self.path = path


class QueryFailed(GraphError):
    """A query raised; raised again wherever its value is read, so that readers fail with it."""

    def __init__(self, node: str, cause: BaseException) -> None:
        super().__init__(f"{node} failed: {type(cause).__name__}: {cause}")
        self.node = node
        self.cause = cause


class EnvironmentUnfit(MiniIstiodError):
    """The machine lacks something (root, a tool, a kernel feature); the message says what to do."""
