"""Tokens of Kubernetes, which the API server judges (TokenReview, with our audience).

A judgement is kept for some seconds: after a restart all proxies come at once, and reconnecting ones ask
again and again.  The API server itself keeps its own for ten.
https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from controlplane.base.clock import Clock
from controlplane.base.errors import EnvironmentUnfit, Unauthenticated
from controlplane.ca import jws
from controlplane.ca.tokens import AUDIENCE, Account

_log = logging.getLogger(__name__)

IN_CLUSTER = "in-cluster"
"""In place of a kubeconfig's path: as a pod, with the pod's own token."""

_KEPT = 10.0
_KEPT_REFUSALS = 2.0
_MOST = 10_000
_PATIENCE = 5.0
_AT_ONCE = 32
_USER = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})", re.ASCII)
_POD = "authentication.kubernetes.io/pod-name"

Review: TypeAlias = Callable[[str, tuple[str, ...]], Awaitable[Any]]
"""Asks the API server about a token for these audiences; the answer is a V1TokenReviewStatus."""


class TokenReviews:
    """A `Judge` (see `controlplane.ca.identity`) that asks `review`."""

    def __init__(self, review: Review, clock: Clock, audience: str = AUDIENCE) -> None:
        self._review = review
        self._clock = clock
        self._audience = audience
        # By the token's hash: tokens themselves are not kept.
        self._known: OrderedDict[bytes, tuple[float, Account | Unauthenticated]] = OrderedDict()
        # Whoever makes tokens up makes us ask, and the API server has others to answer.
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[bytes, asyncio.Task[Account | Unauthenticated]] = {}

    async def judge(self, token: str) -> Account:
        """Who holds it; raises `Unauthenticated`, also when the API server cannot be asked."""
        print = hashlib.sha256(token.encode()).digest()
        until, known = self._known.get(print, (0.0, None))
        if known is None or until <= self._clock.monotonic():
            task = self._asked.get(print)
            if task is None:
                task = self._asked[print] = asyncio.create_task(self._ask(print, token), name="token review")
            known = await asyncio.shield(task)
        if isinstance(known, Unauthenticated):
            raise Unauthenticated(known.cause, str(known), known.account, known.token)
        return known

    async def _ask(self, print: bytes, token: str) -> Account | Unauthenticated:
        try:
            async with asyncio.timeout(_PATIENCE), self._places:
                status = await self._review(token, (self._audience,))
            found = _account(status, token, self._audience)
        except Exception as error:  # noqa: BLE001 - the root of a task; whatever the client raises, nobody is let in
            # Its text may quote what was sent.
            _log.warning("the API server did not review a token", extra={"error": type(error).__name__})
            return Unauthenticated("review", "the API server could not be asked about the token")
        finally:
            del self._asked[print]
        kept = _KEPT_REFUSALS if isinstance(found, Unauthenticated) else _KEPT
        self._known[print] = (self._clock.monotonic() + kept, found)
        self._known.move_to_end(print)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found


def _account(status: Any, token: str, audience: str) -> Account | Unauthenticated:
    if not status.authenticated:  # None, not False, when it is not good
        return Unauthenticated("forged", "the API server says that the token is not good")
    if audience not in (status.audiences or ()):
        # An authenticator that knows no audiences says yes to every one.
        return Unauthenticated("audience", f"the token is not meant for {audience}")
    found = _USER.fullmatch(status.user.username or "")
    if found is None:
        return Unauthenticated("claims", "the token is no service account's")
    claims = jws.unverified(token)  # the API server has verified it
    expires, issued, id = claims.get("exp"), claims.get("iat"), claims.get("jti")
    if not isinstance(expires, int) or not isinstance(issued, int):
        return Unauthenticated("claims", "the token does not expire, which is not accepted")
    pod = ((status.user.extra or {}).get(_POD) or [""])[0]
    return Account(found[1], found[2], float(expires), float(issued), id if isinstance(id, str) else "", pod)


class ApiServer:
    """Reviews by the API server that a kubeconfig names, or the pod's own (`IN_CLUSTER`)."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._client: Any = None

    async def open(self) -> None:
        """Read the configuration; nothing is asked yet.  EnvironmentUnfit when it cannot be used."""
        try:
            from kubernetes.aio import client, config
        except ImportError:
            raise EnvironmentUnfit("--token-review needs the package kubernetes") from None
        settings = client.Configuration()
        no_yaml = config.kube_config.yaml.YAMLError
        try:
            if self._config == IN_CLUSTER:
                config.load_incluster_config(client_configuration=settings)
            else:
                await config.load_kube_config(config_file=self._config, client_configuration=settings)
        except (config.ConfigException, no_yaml, OSError, ValueError, TypeError) as error:
            # Its text may quote the file, in which there are credentials.
            raise EnvironmentUnfit(
                f"--token-review: {self._config} cannot be used ({type(error).__name__}); give a kubeconfig "
                f"with a current context, or {IN_CLUSTER} in a pod with a service account"
            ) from None
        self._client = client.ApiClient(settings)

    async def review(self, token: str, audiences: tuple[str, ...]) -> Any:
        """One TokenReview; raises what the client raises."""
        from kubernetes.aio import client

        spec = client.V1TokenReviewSpec(token=token, audiences=list(audiences))
        api = client.AuthenticationV1Api(self._client)
        answer = await api.create_token_review(client.V1TokenReview(spec=spec))
        return answer.status

    async def close(self) -> None:
        """Close the connections; harmless when none was opened."""
        opened, self._client = self._client, None
        if opened is not None:
            await opened.close()
