"""Who calls, by what was presented: a client certificate, else a bearer token, else nobody.

A credential that is presented must be good: a bad one is refused at every door, also where none is asked
for.  Tokens are not looked at on a line that others can listen to; there everybody is nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from controlplane.base.clock import Clock
from controlplane.base.errors import EnvironmentUnfit, Unauthenticated
from controlplane.ca import jws
from controlplane.ca.revoked import Revoked
from controlplane.ca.signer import BACKDATED
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import AUDIENCE, ISSUER, Account
from controlplane.model.caller import Caller, Door, Presented
from controlplane.model.identity import Identity, parse_spiffe

_log = logging.getLogger(__name__)

DEBUG_AUDIENCE = "debug"
"""For whom a token is meant that opens the debug paths and no door for proxies."""

_SCHEME = "bearer "
_LOOK = 0.5
"""Seconds between two looks at what is revoked, as far as those who are in already are concerned."""

TrustDomains = Callable[[], tuple[str, ...]]
"""The mesh's own trust domain, then its aliases."""


class Judge(Protocol):
    """Judges tokens that are not ours."""

    async def judge(self, token: str) -> Account:
        """Who holds it; raises `Unauthenticated`."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What is believed: tokens of `store` (None: none of our own), tokens that `others` judges, and with
    `loopback` whatever a node says of itself on a socket or the loopback."""

    store: TokenStore | None = None
    others: Judge | None = None
    audience: str = AUDIENCE
    loopback: bool = False


class Identities:
    """An Authenticator (see `controlplane.model.caller`)."""

    def __init__(self, rules: Rules, trust_domains: TrustDomains, clock: Clock) -> None:
        self._rules = rules
        self._trust_domains = trust_domains
        self._clock = clock
        self._revoked = Revoked()
        self._looked = float("-inf")
        self._unread = False

    def trust_domain(self) -> str:
        """The mesh's own."""
        return self._trust_domains()[0]

    async def identify(self, presented: Presented) -> Caller:
        """Who calls; raises `Unauthenticated`."""
        if presented.door is Door.CERTIFICATE:
            return self._by_certificate(presented.certificate)
        if presented.authorization and presented.private:
            return await self._by_token(_bearer(presented.authorization))
        if presented.door is Door.TOKEN:
            raise Unauthenticated("missing", "a bearer token is wanted, and there is none")
        if self._rules.loopback and presented.private:
            return Caller(None, None, True, "loopback")
        return Caller(None, None, presented.private, "")

    async def holder(self, authorization: str) -> Identity:
        """Whose bearer token this header's value is, one for us or for `DEBUG_AUDIENCE`; raises
        `Unauthenticated`."""
        account = await self._judged(_bearer((authorization,)), DEBUG_AUDIENCE)
        return Identity(self.trust_domain(), account.namespace, account.name)

    def objection(self, caller: Caller) -> str:
        """Why this caller may not stay; "" when it may."""
        if caller.identity is None:
            return ""
        now = self._clock.wall()
        if caller.expires is not None and caller.expires <= now:
            return "credential expired"
        if caller.identity.trust_domain != self.trust_domain():
            # What it holds is of the old one; when it comes back it is given what is of the new.
            return "the mesh's trust domain has changed"
        return self._read(now).reason(caller.token, _path(caller.identity), caller.issued)

    # -- certificates ---------------------------------------------------------------------------

    def _by_certificate(self, data: bytes) -> Caller:
        # TLS has checked who signed it and that it holds; whose it is, is for us to say.
        certificate = _leaf(data)
        identity = self._own(_named(certificate))
        expires = certificate.not_valid_after_utc.timestamp()
        if expires <= self._clock.wall():
            raise Unauthenticated("expired", "the certificate has expired", _path(identity))
        issued = certificate.not_valid_before_utc.timestamp() + BACKDATED
        self._refuse_revoked("", _path(identity), issued)
        return Caller(identity, expires, True, "certificate", issued=issued)

    def _own(self, identity: Identity) -> Identity:
        """The identity in the mesh's own trust domain; an alias is another name for that."""
        domains = self._trust_domains()
        if identity.trust_domain not in domains:
            raise Unauthenticated("trust_domain", f"{identity.spiffe} is not of this mesh's trust domain")
        return identity._replace(trust_domain=domains[0])

    # -- tokens ---------------------------------------------------------------------------------

    async def _by_token(self, token: str) -> Caller:
        account = await self._judged(token)
        identity = Identity(self.trust_domain(), account.namespace, account.name)
        return Caller(identity, account.expires, True, "token", account.id, account.issued, account.pod)

    async def _judged(self, token: str, also: str = "") -> Account:
        """Who holds it; it is meant for us, or for `also`, and it is not revoked."""
        rules = self._rules
        try:
            claims = jws.unverified(token)
        except jws.NotSigned as error:
            raise Unauthenticated("malformed", f"the token is not good: {error}") from None
        if claims.get("iss") == ISSUER and rules.store is not None:
            audience = also if also and claims.get("aud") == [also] else rules.audience
            try:
                issuer = rules.store.issuer
            except EnvironmentUnfit as error:
                _log.error("the keys of tokens cannot be read", extra={"error": str(error)})
                raise Unauthenticated("revocations", "no key is there to check the token by") from None
            account = issuer.judge(token, audience, self._clock.wall())
        elif rules.others is not None:
            account = await rules.others.judge(token)
        else:
            raise Unauthenticated("issuer", "the token is of an issuer that is not known here")
        self._refuse_revoked(account.id, account.path, account.issued)
        return account

    # -- revocation -----------------------------------------------------------------------------

    def _refuse_revoked(self, token: str, account: str, issued: float) -> None:
        self._looked = float("-inf")  # who comes in is held against the list as it is now
        revoked = self._read(self._clock.wall())
        if self._unread:
            raise Unauthenticated("revocations", "what is revoked cannot be read, so nobody is let in")
        reason = revoked.reason(token, account, issued)
        if reason:
            raise Unauthenticated("revoked", reason, account, token)

    def _read(self, now: float) -> Revoked:
        """What is revoked, as it was half a second ago at most."""
        store = self._rules.store
        if store is not None and not 0 <= now - self._looked < _LOOK:
            self._looked = now
            try:
                self._revoked = store.revoked()
                self._unread = False
            except EnvironmentUnfit as error:
                if not self._unread:
                    _log.error("what is revoked cannot be read", extra={"error": str(error)})
                self._unread = True
        return self._revoked


def _bearer(authorization: tuple[str, ...]) -> str:
    if len(authorization) != 1:
        raise Unauthenticated("malformed", "there is more than one authorization header")
    (value,) = authorization
    if not value[: len(_SCHEME)].lower() == _SCHEME:
        raise Unauthenticated("malformed", "the authorization header holds no bearer token")
    return value[len(_SCHEME) :].strip()


def _leaf(data: bytes) -> x509.Certificate:
    if not data:
        raise Unauthenticated("missing", "a client certificate is wanted, and there is none")
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError:
        raise Unauthenticated("malformed", "the client certificate cannot be read") from None


def _named(certificate: x509.Certificate) -> Identity:
    """The identity that the certificate's one URI names."""
    try:
        extensions = certificate.extensions
        names = extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise Unauthenticated("certificate", "the certificate names no identity") from None
    assert isinstance(names, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    identity = parse_spiffe(uris[0]) if len(uris) == 1 else None
    if identity is None:
        raise Unauthenticated("certificate", "the certificate does not name exactly one identity")
    return identity


def _path(identity: Identity) -> str:
    return f"{identity.namespace}/{identity.service_account}"
