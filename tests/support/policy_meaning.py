"""What AuthorizationPolicies mean, worked out request by request from the words of Istio's reference.

    https://istio.io/latest/docs/reference/config/security/authorization-policy/

It knows nothing of Envoy and shares no code with the translator: the two are held against each other.
Policies are plain dicts as a user writes them; a request is what the server's side can know of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]
Test = Callable[[str, str], bool]
"""(what the policy says, what the request has) -> does it match."""


@dataclass(frozen=True)
class Asked:
    """One request as the server sees it; absent things are "" or empty.

    `principal` is "trust-domain/ns/…/sa/…", `claims` are those of a token that was found good.  `raw`: to the
    server it is a connection and no more, whatever is said over it.
    """

    method: str = "GET"
    path: str = "/"
    host: str = "server.foo"
    port: int = 8080
    server: str = "10.0.0.1"
    client: str = "10.0.0.2"
    principal: str = ""
    forwarded: str = ""
    sni: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    raw: bool = False

    @property
    def namespace(self) -> str:
        return self.principal.split("/")[2] if self.principal else ""

    @property
    def account(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.principal.split('/')[4]}" if self.principal else ""

    @property
    def trust_domain(self) -> str:
        return self.principal.split("/")[0]

    @property
    def subject(self) -> str:
        """ "issuer/subject" of the token."""
        return f"{self.claims['iss']}/{self.claims['sub']}" if self.claims else ""

    @property
    def origin(self) -> str:
        """The address on whose behalf the request was made, as far as the header says, if it can be read."""
        return ("" if self.raw else self.forwarded.split(",")[-1].strip()) or self.client


def allowed(policies: Sequence[Json], asked: Asked) -> bool:
    """Whether the request is let through by all policies that hold for its server."""
    denials = [policy for policy in policies if policy["spec"].get("action") == "DENY"]
    grants = [policy for policy in policies if policy["spec"].get("action", "ALLOW") == "ALLOW"]
    if any(matches(policy, asked) for policy in denials):
        return False
    return not grants or any(matches(policy, asked) for policy in grants)


def matches(policy: Json, asked: Asked) -> bool:
    """Whether some rule of a policy matches; a policy without rules never does."""
    home = policy["metadata"]["namespace"]
    rules = policy["spec"].get("rules", ())
    if asked.raw and policy["spec"].get("action", "ALLOW") == "ALLOW":
        # What cannot be checked must not let anybody in ...
        rules = [rule for rule in rules if _without_http(rule) == rule]
    elif asked.raw:
        # ... and must not let anybody off.
        rules = [_without_http(rule) for rule in rules]
    return any(_rule(rule, asked, home) for rule in rules)


_HTTP = {"requestPrincipals", "notRequestPrincipals", "hosts", "notHosts"} | {
    *("methods", "notMethods", "paths", "notPaths"),
}


def _without_http(rule: Json) -> Json:
    """A rule without what only HTTP has."""
    left: dict[str, Any] = {}
    for part, inner in (("from", "source"), ("to", "operation")):
        if part in rule:
            left[part] = [
                {inner: {name: said for name, said in one[inner].items() if name not in _HTTP}}
                for one in rule[part]
            ]
    if "when" in rule:
        left["when"] = [one for one in rule["when"] if not one["key"].startswith("request.")]
    return left


def _rule(rule: Json, asked: Asked, home: str) -> bool:
    sources = [one["source"] for one in rule.get("from", ())]
    operations = [one["operation"] for one in rule.get("to", ())]
    return (
        (not sources or any(_source(source, asked, home) for source in sources))
        and (not operations or any(_operation(operation, asked) for operation in operations))
        and all(_condition(condition, asked, home) for condition in rule.get("when", ()))
    )


def _source(source: Json, asked: Asked, home: str) -> bool:
    at_home: Test = lambda said, had: _account(said, had, home)  # noqa: E731
    return (
        _both(source, "principals", "notPrincipals", asked.principal, text)
        and _both(source, "requestPrincipals", "notRequestPrincipals", asked.subject, text)
        and _both(source, "namespaces", "notNamespaces", asked.namespace, text)
        and _both(source, "serviceAccounts", "notServiceAccounts", asked.account, at_home)
        and _both(source, "trustDomains", "notTrustDomains", asked.trust_domain, text)
        and _both(source, "ipBlocks", "notIpBlocks", asked.client, block)
        and _both(source, "remoteIpBlocks", "notRemoteIpBlocks", asked.origin, block)
    )


def _operation(operation: Json, asked: Asked) -> bool:
    host: Test = lambda said, had: text(said.lower(), had.lower())  # noqa: E731
    return (
        _both(operation, "hosts", "notHosts", asked.host, host)
        and _both(operation, "ports", "notPorts", str(asked.port), str.__eq__)
        and _both(operation, "methods", "notMethods", asked.method, text)
        and _both(operation, "paths", "notPaths", asked.path, path)
    )


def _both(where: Json, wanted: str, unwanted: str, had: str, test: Test) -> bool:
    """One of the wanted values, if any are said, and none of the unwanted."""
    good, bad = where.get(wanted, ()), where.get(unwanted, ())
    return (not good or any(test(said, had) for said in good)) and not any(test(said, had) for said in bad)


def _condition(condition: Json, asked: Asked, home: str) -> bool:
    have, test = _attribute(condition["key"], asked, home)
    good, bad = condition.get("values", ()), condition.get("notValues", ())

    def found(said: str) -> bool:
        return any(test(said, had) for had in have)

    return (not good or any(map(found, good))) and not any(map(found, bad))


def _attribute(key: str, asked: Asked, home: str) -> tuple[tuple[str, ...], Test]:
    """The values that a request has of an attribute, and how they are compared."""
    name, _, inner = key.partition("[")
    if name == "request.headers":
        value = asked.headers.get(inner.removesuffix("]").lower())
        return (() if value is None else (value,)), text
    if name == "request.auth.claims":
        return _claim(asked.claims, inner.removesuffix("]").split("][")), text
    single: dict[str, tuple[str, Test]] = {
        "source.ip": (asked.client, block),
        "remote.ip": (asked.origin, block),
        "source.namespace": (asked.namespace, text),
        "source.principal": (asked.principal, text),
        "source.serviceAccount": (asked.account, lambda said, had: _account(said, had, home)),
        "source.trustDomain": (asked.trust_domain, text),
        "request.auth.principal": (asked.subject, text),
        "request.auth.presenter": (str(asked.claims.get("azp", "")), text),
        "destination.ip": (asked.server, block),
        "destination.port": (str(asked.port), str.__eq__),
        "connection.sni": (asked.sni, text),
    }
    if name == "request.auth.audiences":
        return _claim(asked.claims, ["aud"]), text
    had, test = single[name]
    return (had,), test


def _claim(claims: Mapping[str, Any], path: Sequence[str]) -> tuple[str, ...]:
    """The texts of a claim: itself, or those of a list."""
    value: Any = claims
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return ()
        value = value[part]
    if isinstance(value, list):
        return tuple(one for one in value if isinstance(one, str))
    return (value,) if isinstance(value, str) else ()


def text(said: str, had: str) -> bool:
    """Exact, "prefix*", "*suffix", or "*" for anything that is there."""
    if said == "*":
        return had != ""
    if said.endswith("*"):
        return had.startswith(said[:-1])
    if said.startswith("*"):
        return had.endswith(said[1:])
    return said == had


def path(said: str, had: str) -> bool:
    """The same, and templates: {*} is one segment, {**} is any number of them."""
    if "{" not in said:
        return text(said, had)
    parts = re.split(r"(\{\*\*?\})", said)
    meaning = {"{*}": "[^/]+", "{**}": ".*"}
    return re.fullmatch("".join(meaning.get(part) or re.escape(part) for part in parts), had) is not None


def block(said: str, had: str) -> bool:
    """An address, or a range of them."""
    return had != "" and ipaddress.ip_address(had) in ipaddress.ip_network(said, strict=False)


def _account(said: str, had: str, home: str) -> bool:
    """ "name" of the policy's own namespace, or "namespace/name"; no patterns."""
    return (said if "/" in said else f"{home}/{said}") == had
