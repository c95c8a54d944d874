"""Who may see what of the debug paths from elsewhere: Istio's rule.

An identity of the root namespace sees everything.  Others see the configuration of their own namespace's
proxies, and nothing else: the rest shows the whole mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controlplane.base.errors import Unauthenticated
from controlplane.model.identity import Identity, identity_of
from controlplane.telemetry.visitors import Refusal, Request, turned_away

OWN = "/debug/config_dump"
"""What shows one proxy, the one of the query's proxyID."""


class Holders(Protocol):
    """Who knows whose token is whose."""

    async def holder(self, authorization: str) -> Identity:
        """Whose token this header holds; raises `Unauthenticated`."""
        ...

    def trust_domain(self) -> str:
        """The mesh's own."""
        ...


class Visitors:
    """A Judge (see `controlplane.telemetry.visitors`); `namespace_of` is that of a connected proxy, by its
    id, or None."""

    def __init__(
        self,
        holders: Holders,
        root_namespace: Callable[[], str],
        namespace_of: Callable[[str], str | None],
        count: Callable[[str], None],
    ) -> None:
        self._holders = holders
        self._root_namespace = root_namespace
        self._namespace_of = namespace_of
        self._count = count

    async def judge(self, request: Request) -> Refusal | None:
        """None when this visitor may see this."""
        if not request.authorization:
            reason = "debug paths answer other machines only with a bearer token"
            return self._refused(401, "missing", reason, request)
        try:
            identity = await self._holders.holder(request.authorization)
        except Unauthenticated as error:
            known = identity_of(error.account, self._holders.trust_domain())
            return self._refused(401, error.cause, str(error), request, known)
        if identity.namespace == self._root_namespace():
            return None
        if request.path == OWN and identity.namespace == self._namespace_of(request.query.get("proxyID", "")):
            return None
        # The same answer whether or not there is such a proxy.
        reason = f"{identity.spiffe} may see {OWN} of its own namespace's proxies, and nothing else"
        return self._refused(403, "debug", reason, request, identity)

    def _refused(
        self, status: int, cause: str, reason: str, request: Request, identity: Identity | None = None
    ) -> Refusal:
        self._count(cause)
        turned_away(cause, reason, request, "" if identity is None else identity.spiffe)
        return Refusal(status, reason)
