"""RequestAuthentication: which objects hold for a workload, and how tokens are checked by them together."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.projections import Security
from controlplane.mesh.remote_keys import RemoteKeys, remote_keys
from controlplane.mesh.settings import root_namespace
from controlplane.model.jwks import NOBODYS_KEYS
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import request_authentications
from controlplane.model.kinds.key_set import FetchedKeySet, key_set_key, key_sets
from controlplane.model.kinds.request_authentication import JwtRule, RequestAuthentication, space_delimited

Pairs = tuple[tuple[str, str], ...]


class JwtProvider(NamedTuple):
    """How the tokens of one issuer are checked.

    `keys` is a key set as text, or `remote` says where the proxy fetches one.  Tokens are looked for in
    `headers` (name, prefix), query parameters and cookies; in the usual places where none is named.
    `payload_header` and `claim_headers` (header, claim) tell the application what a token says; `forward`
    leaves it the token itself.  `required`: a request without a token of this issuer is refused.
    """

    issuer: str
    keys: str
    audiences: tuple[str, ...] = ()
    headers: Pairs = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    forward: bool = False
    payload_header: str = ""
    claim_headers: Pairs = ()
    space_delimited: tuple[str, ...] = ()
    required: bool = False
    remote: RemoteKeys | None = None


class JwtRules(NamedTuple):
    """What the tokens of a workload's requests are checked by, sorted by issuer; none: they are not."""

    providers: tuple[JwtProvider, ...] = ()


def request_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The RequestAuthentication objects in force for a workload: the mesh's and its namespace's, by age.

    All of them hold together; those that name targets hold for no sidecar.
    """
    found: list[Key] = []
    for where in dict.fromkeys((q(root_namespace), namespace)):
        keys = q.selecting(request_authentications, where, labels)
        found += sorted(keys, key=lambda key: (q(_created, key), key))
    return tuple(found)


@query
def _created(q: Q, key: Key) -> str:
    policy: RequestAuthentication | None = q.get(request_authentications, key)
    return "" if policy is None else policy.meta.created


@query
def jwt_rules(q: Q, namespace: str, security: Security) -> JwtRules:
    """The rules of all policies in force; `namespace` is the workload's.

    Content, not names: workloads with equal rules share what is built from them.
    """
    rules = [rule for key in security.requests for rule in q(_rules, key)]
    # By issuer alone: of equal issuers the older policy's rule comes first.
    rules.sort(key=lambda rule: rule.issuer)
    return JwtRules(tuple(_provider(q, rule, namespace) for rule in rules))


@query
def _rules(q: Q, key: Key) -> tuple[JwtRule, ...]:
    policy: RequestAuthentication | None = q.get(request_authentications, key)
    return () if policy is None else policy.jwt_rules


@query
def _fetched(q: Q, uri: str) -> str:
    """The keys alone: that a later attempt failed changes nothing for tokens."""
    found: FetchedKeySet | None = q.get(key_sets, key_set_key(uri))
    return "" if found is None else found.keys


def _keys(q: Q, rule: JwtRule) -> str:
    """As long as nothing was fetched every token of the issuer is refused, and nothing else is."""
    return rule.jwks or q(_fetched, rule.keys_from) or NOBODYS_KEYS


def _provider(q: Q, rule: JwtRule, namespace: str) -> JwtProvider:
    remote = remote_keys(q, rule, namespace)
    return JwtProvider(
        issuer=rule.issuer,
        keys=_keys(q, rule) if remote is None else "",
        remote=remote,
        audiences=rule.audiences,
        headers=tuple((header.name, header.prefix) for header in rule.from_headers),
        params=rule.from_params,
        cookies=rule.from_cookies,
        forward=rule.forward_original_token,
        payload_header=rule.output_payload_to_header or "",
        claim_headers=tuple((one.header, one.claim) for one in rule.output_claim_to_headers),
        space_delimited=space_delimited(rule),
        required=rule.presence == "REQUIRED",
    )
