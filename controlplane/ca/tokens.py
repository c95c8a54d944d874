"""Our own tokens, for where there is no Kubernetes to give them: who holds one is a service account.

They look like those of Kubernetes: subject, audience, times, and a claim with namespace, service account
and, if they are bound to one, pod.  The key that signs them is in the data directory.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.base.errors import Unauthenticated
from controlplane.ca import jws

ISSUER = "mini-istiod"
AUDIENCE = "istio-ca"
"""For whom a token is meant, as in Istio's projected tokens."""
LEEWAY = 60.0
"""Seconds by which a token may be from the future: clocks differ."""

_SUBJECT = re.compile(
    r"system:serviceaccount:([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?):([a-z0-9.-]{1,253})", re.ASCII
)


class Account(NamedTuple):
    """A service account, by a credential; times in Unix seconds, `id` that of the token, `pod` may be ""."""

    namespace: str
    name: str
    expires: float
    issued: float
    id: str
    pod: str = ""

    @property
    def path(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


class Wish(NamedTuple):
    """What a token is to say; `lifetime` in seconds."""

    namespace: str
    name: str
    lifetime: float
    audience: str = AUDIENCE
    pod: str = ""


class Retired(NamedTuple):
    """A key that signs no more, and what it has signed, by the tokens' ids.

    Whoever has got hold of the key can sign with it still; but no more than what was signed before.
    """

    key: ec.EllipticCurvePublicKey
    tokens: Mapping[str, Account]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs tokens, and judges them again, and those that were signed before its key was `retired`."""

    key: ec.EllipticCurvePrivateKey
    retired: tuple[Retired, ...] = ()

    @property
    def kid(self) -> str:
        """The id of the key."""
        return jws.key_id(self.key.public_key())

    def issue(self, wish: Wish, now: float) -> tuple[str, Account]:
        """A new token, and what it says.  ValueError when the names are none of Kubernetes'."""
        subject = f"system:serviceaccount:{wish.namespace}:{wish.name}"
        if _SUBJECT.fullmatch(subject) is None:
            raise ValueError(f"{wish.namespace}/{wish.name} is no service account's name")
        start = int(now)
        end = start + max(int(wish.lifetime), 1)
        id = secrets.token_hex(16)
        bound: dict[str, Any] = {"namespace": wish.namespace, "serviceaccount": {"name": wish.name}}
        if wish.pod:
            bound["pod"] = {"name": wish.pod}
        claims = {
            "iss": ISSUER,
            "aud": [wish.audience],
            "sub": subject,
            "iat": start,
            "nbf": start,
            "exp": end,
            "jti": id,
            "kubernetes.io": bound,
        }
        account = Account(wish.namespace, wish.name, float(end), float(start), id, wish.pod)
        return jws.signed(claims, self.key), account

    def judge(self, token: str, audience: str, now: float) -> Account:
        """Who holds this token; raises `Unauthenticated` when it is not ours, not for us, or not now."""
        try:
            claims, old = self._verified(token)
        except jws.NotSigned as error:
            raise Unauthenticated("forged", f"the token is not good: {error}") from None
        if claims.get("iss") != ISSUER:
            raise Unauthenticated("issuer", "the token is of another issuer")
        account = _account(claims)
        if old is not None and old.tokens.get(account.id) != account:
            raise Unauthenticated("forged", "the token was not signed before its key was retired")
        # From here on it is known whose it is, and whoever turns it away can say so.
        whose = (account.path, account.id)
        audiences = claims.get("aud")
        if not isinstance(audiences, list) or audience not in audiences:
            raise Unauthenticated("audience", f"the token is not meant for {audience}", *whose)
        if account.expires <= now:
            raise Unauthenticated("expired", "the token has expired", *whose)
        if _time(claims, "nbf") > now + LEEWAY:
            raise Unauthenticated("early", "the token does not hold yet", *whose)
        return account

    def _verified(self, token: str) -> tuple[dict[str, Any], Retired | None]:
        """What it says, and the key by which it does if that signs no more."""
        kid = jws.named_key(token)
        for old in self.retired:
            if jws.key_id(old.key) == kid:
                return jws.verified(token, old.key, kid), old
        return jws.verified(token, self.key.public_key(), self.kid), None


def _account(claims: dict[str, Any]) -> Account:
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    found = _SUBJECT.fullmatch(str(claims.get("sub")))
    id = claims.get("jti")
    if found is None or not isinstance(id, str) or not id:
        raise Unauthenticated("claims", "the token names no service account, or has no id")
    return Account(found[1], found[3], expires, issued, id, _pod(claims))


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unauthenticated("claims", f"the token has no {name}")
    return float(value)


def _pod(claims: dict[str, Any]) -> str:
    bound = claims.get("kubernetes.io")
    pod = bound.get("pod") if isinstance(bound, dict) else None
    name = pod.get("name") if isinstance(pod, dict) else None
    return name if isinstance(name, str) else ""
