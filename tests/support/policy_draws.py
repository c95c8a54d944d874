"""AuthorizationPolicies and requests drawn at random, from few enough words that they often meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.policy_meaning import Asked

Json = dict[str, Any]

ISSUER = "issuer@example.com"
PRINCIPALS = (
    "cluster.local/ns/foo/sa/sleep",
    "cluster.local/ns/foo/sa/default",
    "cluster.local/ns/bar/sa/sleep",
    "cluster.local/ns/barn/sa/robot",
)
CLAIMS: tuple[Json, ...] = (
    {"iss": ISSUER, "sub": "alice", "aud": ["shop", "bank"], "groups": ["admin", "staff"], "azp": "portal"},
    {"iss": ISSUER, "sub": "bob", "aud": ["shop"], "groups": ["staff"], "realm": {"role": "reader"}},
    {"iss": ISSUER, "sub": "carol", "azp": "robot", "realm": {"role": "writer", "teams": ["red", "blue"]}},
)
HOSTS = ("server.foo", "shop.example.com", "API.example.com")
PATHS = ("/", "/info", "/info/1", "/info/1/more", "/admin", "/admin/users", "/data/x/y/z", "/INFO")
METHODS = ("GET", "POST", "PUT", "DELETE")
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("x-team", ("red", "blue", "redder")),
    ("x-version", ("v1", "v2", "canary-v2")),
)


@dataclass(frozen=True)
class World:
    """Where the requests happen: what cannot be chosen freely.  No service has the port `undeclared`."""

    server: str
    clients: tuple[str, ...]
    ports: tuple[int, ...]
    undeclared: int


@dataclass(frozen=True)
class Draws:
    """Draws from a seed; equal seeds, equal draws."""

    random: Random
    world: World

    def policies(self) -> list[Json]:
        """One to four policies for the workload: in its namespace or in the root."""
        return [self._policy(index) for index in range(self.random.choice((1, 1, 2, 3, 4)))]

    def asked(self) -> Asked:
        """A request; the name asked for by TLS and the principal come together."""
        pick = self.random.choice
        principal = pick((*PRINCIPALS, *PRINCIPALS, ""))
        headers = {name: pick(values) for name, values in HEADERS if self.random.random() < 0.6}
        port = pick(self.world.ports)
        return Asked(
            method=pick(METHODS[:2] if self.random.random() < 0.7 else METHODS),
            path=pick(PATHS),
            host=pick(HOSTS),
            port=port,
            server=self.world.server,
            client=pick(self.world.clients),
            principal=principal,
            forwarded=pick(("", "", "192.0.2.7", "203.0.113.9")),
            sni=pick(("outbound_.80_._.server.foo", "other.example.com")) if principal else "",
            headers=headers,
            claims=pick(({}, *CLAIMS)),
            # Where no service says what is spoken, a client with a certificate says it.
            raw=bool(principal) and port == self.world.undeclared and self.random.random() < 0.5,
        )

    def _policy(self, index: int) -> Json:
        rules = [self._rule() for _ in range(self.random.choice((0, 1, 1, 1, 2, 3)))]
        spec: Json = {"action": self.random.choice(("ALLOW", "ALLOW", "DENY"))}
        if rules:
            spec["rules"] = rules
        if self.random.random() < 0.5:
            spec["selector"] = {"matchLabels": {"app": "server"}}
        return {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": f"drawn-{index}", "namespace": self.random.choice(("foo", "istio-system"))},
            "spec": spec,
        }

    def _rule(self) -> Json:
        rule: Json = {}
        if self.random.random() < 0.6:
            rule["from"] = [{"source": self._source()} for _ in range(self.random.choice((1, 1, 2)))]
        if self.random.random() < 0.6:
            rule["to"] = [
                {"operation": self._fields(_OPERATION)} for _ in range(self.random.choice((1, 1, 2)))
            ]
        if self.random.random() < 0.4:
            rule["when"] = [self._condition() for _ in range(self.random.choice((1, 1, 2)))]
        return rule

    def _source(self) -> Json:
        if self.random.random() < 0.15:
            # Not beside other names of the caller: Istio refuses that.
            return {self.random.choice(("serviceAccounts", "notServiceAccounts")): self._some(_accounts)}
        return self._fields(_SOURCE)

    def _fields(self, vocabulary: dict[str, Callable[[World], Sequence[str]]]) -> Json:
        names = self.random.sample(sorted(vocabulary), self.random.choice((1, 1, 2)))
        return {
            _negated(name) if self.random.random() < 0.25 else name: self._some(vocabulary[name])
            for name in names
        }

    def _some(self, words: Callable[[World], Sequence[str]]) -> list[str]:
        known = words(self.world)
        return self.random.sample(known, min(len(known), self.random.choice((1, 1, 2, 3))))

    def _condition(self) -> Json:
        key = self.random.choice(sorted(_WHEN))
        form = self.random.choice(("values", "values", "notValues", "both"))
        condition: Json = {"key": key}
        if form != "notValues":
            condition["values"] = self._some(_WHEN[key])
        if form != "values":
            condition["notValues"] = self._some(_WHEN[key])
        return condition


def _negated(name: str) -> str:
    return "not" + name[0].upper() + name[1:]


def _fixed(*words: str) -> Callable[[World], Sequence[str]]:
    return lambda _world: words


def _addresses(world: World) -> Sequence[str]:
    return (*world.clients, f"{world.clients[0]}/32", "10.0.0.0/8", "192.168.0.0/16")


def _origins(world: World) -> Sequence[str]:
    return (*_addresses(world), "192.0.2.0/24", "203.0.113.9")


def _servers(world: World) -> Sequence[str]:
    return (world.server, f"{world.server}/32", "198.51.100.0/24")


def _ports(world: World) -> Sequence[str]:
    return (*map(str, world.ports), "9")


_principals = _fixed(*PRINCIPALS, "*", "cluster.local/ns/foo/*", "*/sa/sleep", "cluster.local/ns/bar*")
_subjects = _fixed(f"{ISSUER}/alice", f"{ISSUER}/bob", "*", f"{ISSUER}/*", "*/carol", "other/alice")
_namespaces = _fixed("foo", "bar", "barn", "bar*", "*n", "*")
_accounts = _fixed("sleep", "bar/sleep", "foo/default", "barn/robot")
_domains = _fixed("cluster.local", "other.domain", "*", "cluster*")

_SOURCE: dict[str, Callable[[World], Sequence[str]]] = {
    "principals": _principals,
    "requestPrincipals": _subjects,
    "namespaces": _namespaces,
    "ipBlocks": _addresses,
    "remoteIpBlocks": _origins,
    "trustDomains": _domains,
}
_OPERATION: dict[str, Callable[[World], Sequence[str]]] = {
    "hosts": _fixed("server.foo", "*.example.com", "shop*", "api.EXAMPLE.com", "*"),
    "ports": _ports,
    "methods": _fixed("GET", "POST", "P*", "*", "*E"),
    "paths": _fixed(
        "/", "/info*", "/info/{*}", "/info/{**}", "*/users", "/data/{*}/{*}/z", "/data/{**}", "*"
    ),
}
_WHEN: dict[str, Callable[[World], Sequence[str]]] = {
    "request.headers[x-team]": _fixed("red", "blue", "red*", "*", "*er"),
    "request.headers[X-Version]": _fixed("v1", "v2", "*v2", "canary*"),
    "source.ip": _addresses,
    "remote.ip": _origins,
    "source.namespace": _namespaces,
    "source.principal": _principals,
    "source.serviceAccount": _accounts,
    "source.trustDomain": _domains,
    "request.auth.principal": _subjects,
    "request.auth.audiences": _fixed("shop", "bank", "b*", "*"),
    "request.auth.presenter": _fixed("portal", "robot", "*"),
    "request.auth.claims[groups]": _fixed("admin", "staff", "st*", "*"),
    "request.auth.claims[realm][role]": _fixed("reader", "writer", "*er"),
    "request.auth.claims[realm][teams]": _fixed("red", "blue", "green"),
    "destination.ip": _servers,
    "destination.port": _ports,
    "connection.sni": _fixed("outbound_.80_._.server.foo", "*.example.com", "outbound*", "*"),
}
