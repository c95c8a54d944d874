"""Configurations of a small mesh and calls in it, drawn from a seed: few words, so that they often meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from tests.support.policy_draws import Draws as PolicyDraws
from tests.support.policy_draws import World as PolicyWorld
from tests.support.sim_world import (
    ALPHA,
    BETA,
    CLIENT,
    ELSEWHERE,
    EXT,
    GATE_HOSTS,
    GATE_LABELS,
    HEADERS,
    ISSUER,
    NAMESPACE,
    PARTS,
    ROUTED,
    SERVER,
    STRANGER,
    VERSIONS,
    Json,
    made,
    standing,
)


class Round(NamedTuple):
    """A configuration: objects, and the MeshConfig."""

    objects: list[Json]
    mesh: Json


@dataclass(frozen=True)
class Draws:
    """Draws from a seed; equal seeds, equal draws."""

    random: Random = field(default_factory=Random)

    def round(self) -> Round:
        """A configuration for the whole mesh."""
        objects = standing()
        hosts = self.random.sample(ROUTED, self.random.choice((2, 3, 4)))
        objects += (self._virtual_service(f"vs-{number}", host) for number, host in enumerate(hosts))
        objects += self._rules()
        objects += self._edge()
        objects += self._policies()
        if self.chance(0.3):
            objects.append(self._sidecar())
        mode = self.pick(("ALLOW_ANY", "ALLOW_ANY", "REGISTRY_ONLY"))
        mesh: Json = {"outboundTrafficPolicy": {"mode": mode}}
        if self.chance(0.5):
            normalization = ("NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
            mesh["pathNormalization"] = {"normalization": self.pick(normalization)}
        return Round(objects, mesh)

    def pick(self, words: Sequence[Any]) -> Any:
        return self.random.choice(words)

    def chance(self, likely: float) -> bool:
        return self.random.random() < likely

    # -- objects ------------------------------------------------------------------------------

    def _virtual_service(self, name: str, host: str, gateways: Sequence[str] = ()) -> Json:
        rules = [self._route(bool(gateways)) for _ in range(self.pick((1, 2, 3, 4)))]
        spec: Json = {"hosts": [host], "http": rules}
        if gateways:
            spec["gateways"] = list(gateways)
        elif host == PARTS and self.chance(0.6):
            spec["tcp"] = [{"match": [{"port": 3306}], "route": self._shares(3306)}]
            match = [{"port": 443, "sniHosts": [self.pick((PARTS, "*.example.com"))]}]
            spec["tls"] = [
                {"match": match, "route": [{"destination": {"host": EXT, "port": {"number": 443}}}]}
            ]
        return made("VirtualService", name, spec)

    def _route(self, claims: bool) -> Json:
        route: Json = {"name": f"r{self.random.randrange(1000)}"}
        if self.chance(0.8):
            route["match"] = [self._match(claims) for _ in range(self.pick((1, 1, 2)))]
        how = self.random.random()
        if how < 0.12:
            route["redirect"] = self._redirect()
            return route
        if how < 0.22:
            route["directResponse"] = {"status": self.pick((200, 404, 503)), "body": {"string": "drawn"}}
            return route
        route["route"] = self._shares(80)
        route["retries"] = {"attempts": 0}
        if self.chance(0.4):
            route["rewrite"] = self._rewrite()
        if self.chance(0.3):
            route["headers"] = {"request": self._changes()}
        if self.chance(0.2):
            percentage = {"value": self.pick((100, 100, 50))}
            route["fault"] = {"abort": {"httpStatus": self.pick((418, 503)), "percentage": percentage}}
        if self.chance(0.15):
            origins = [{"exact": "https://a.example"}]
            route["corsPolicy"] = {"allowOrigins": origins, "allowMethods": ["GET"]}
        return route

    def _match(self, claims: bool) -> Json:
        match: Json = {}
        if self.chance(0.1):
            # Only gateways know claims.
            name = "@request.auth.claims.sub" if claims else "x-user"
            match["headers"] = {name: {"exact": self.pick(("alice", "bob"))}}
            return match
        if self.chance(0.7):
            match["uri"] = self.pick(_URIS)
            if "regex" not in match["uri"] and self.chance(0.2):
                match["ignoreUriCase"] = True
        if self.chance(0.4):
            name, words = self.pick(HEADERS)
            match[self.pick(("headers", "headers", "withoutHeaders"))] = {name: self._text(words)}
        if self.chance(0.15):
            match["method"] = {"exact": self.pick(("GET", "POST"))}
        if self.chance(0.15):
            match["queryParams"] = {"x": self.pick(({"exact": "1"}, {"regex": "[0-9]+"}, {"exact": ""}))}
        if self.chance(0.1):
            match["authority"] = self.pick(({"prefix": "parts"}, {"regex": ".*example.com"}))
        if self.chance(0.1):
            match["port"] = self.pick((80, 8080))
        return match or {"uri": {"prefix": "/"}}

    def _text(self, words: Sequence[str]) -> Json:
        word = self.pick(words)
        regexes = ({"regex": f"{word[:3]}.*"}, {"regex": f"(?i){word}"})
        text: Json = self.pick(({"exact": word}, {"prefix": word[:2]}, *regexes, {}))
        return text

    def _redirect(self) -> Json:
        redirect: Json = {}
        if self.chance(0.6):
            redirect["uri"] = "/moved"
        if self.chance(0.5) or not redirect:
            redirect["authority"] = "other.example.com"
        if self.chance(0.4):
            redirect["scheme"] = "https"
        if self.chance(0.3):
            redirect[self.pick(("port",))] = 8443
        if self.chance(0.5):
            redirect["redirectCode"] = self.pick((302, 303, 307, 308))
        return redirect

    def _rewrite(self) -> Json:
        rewrite: Json = {}
        if self.chance(0.4):
            rewrite["authority"] = "rewritten.example.com"
        if self.chance(0.5):
            rewrite["uri"] = self.pick(("/new", "/new/", "/"))
        elif self.chance(0.6) or not rewrite:
            rewrite["uriRegexRewrite"] = self.pick(
                ({"match": "/info/(.*)", "rewrite": r"/told/\1"}, {"match": "i", "rewrite": "I"})
            )
        return rewrite

    def _changes(self) -> Json:
        changes: Json = {}
        if self.chance(0.6):
            changes["set"] = {"x-team": "set"}
        if self.chance(0.5):
            changes["add"] = {"x-added": "added"}
        if self.chance(0.3):
            changes["remove"] = ["x-version"]
        return changes

    def _shares(self, port: int) -> list[Json]:
        def destination() -> Json:
            host = PARTS if port == 3306 else self.pick((ALPHA, BETA, PARTS, PARTS, EXT))
            found: Json = {"host": host, "port": {"number": port}}
            if host == PARTS and self.chance(0.6):
                found["subset"] = self.pick((*VERSIONS, "v9"))
            return found

        if self.chance(0.7):
            return [{"destination": destination()}]
        weight = self.pick((10, 50, 100))
        return [
            {"destination": destination(), "weight": weight},
            {"destination": destination(), "weight": 100 - weight},
        ]

    def _rules(self) -> list[Json]:
        subsets = [{"name": version, "labels": {"version": version}} for version in VERSIONS]
        found = []
        if self.chance(0.8):
            policy = {"loadBalancer": {"simple": self.pick(("ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"))}}
            found.append(
                made("DestinationRule", "parts", {"host": PARTS, "subsets": subsets, "trafficPolicy": policy})
            )
        if self.chance(0.3):
            tls = {"mode": "SIMPLE", "sni": "drawn.example.com", "insecureSkipVerify": True}
            found.append(made("DestinationRule", "beta", {"host": BETA, "trafficPolicy": {"tls": tls}}))
        return found

    def _edge(self) -> list[Json]:
        hosts = self.random.sample(GATE_HOSTS, self.pick((1, 2)))
        servers: list[Json] = [
            {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": hosts},
        ]
        if self.chance(0.5):
            servers[0]["tls"] = {"httpsRedirect": True} if self.chance(0.3) else {}
        secure = {"mode": "SIMPLE", "credentialName": "shop"}
        https = {"port": {"number": 8443, "name": "https", "protocol": "HTTPS"}, "tls": secure}
        servers.append({**https, "hosts": [self.pick(GATE_HOSTS[:3])]})
        if self.chance(0.5):
            port = {"number": 9443, "name": "tls", "protocol": "TLS"}
            servers.append({"port": port, "tls": {"mode": "PASSTHROUGH"}, "hosts": ["*.example.com"]})
        if self.chance(0.3):
            servers.append({"port": {"number": 9000, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]})
        gate = made("Gateway", "gate", {"selector": GATE_LABELS, "servers": servers})
        routed = [self._virtual_service(f"gate-{n}", host, ["gate"]) for n, host in enumerate(hosts)]
        deep: Json = {"hosts": ["*"], "gateways": ["gate"]}
        deep["tls"] = [
            {
                "match": [
                    {"port": 9443, "sniHosts": [self.pick((EXT, "parts.example.com", "*.example.com"))]}
                ],
                "route": [{"destination": {"host": EXT, "port": {"number": 443}}}],
            }
        ]
        deep["tcp"] = [{"match": [{"port": 9000}], "route": self._shares(3306)}]
        return [gate, *routed, made("VirtualService", "gate-deep", deep)]

    def _policies(self) -> list[Json]:
        found: list[Json] = []
        mode = self.pick(("", "PERMISSIVE", "STRICT", "DISABLE"))
        for name, labels, namespace in (("server", _SERVER_LABELS, NAMESPACE), ("gate", GATE_LABELS, "edge")):
            if self.chance(0.5):
                rule: Json = {"issuer": ISSUER.name, "jwks": ISSUER.jwks}
                if self.chance(0.3):
                    rule["audiences"] = ["shop"]
                rules = [rule]
                if self.chance(0.4):
                    rules.append({"issuer": STRANGER.name, "jwks": STRANGER.jwks})
                asked = {"selector": {"matchLabels": labels}, "jwtRules": rules}
                found.append(made("RequestAuthentication", name, asked, namespace, "security"))
        if mode:
            spec = {"mtls": {"mode": mode}}
            found.append(made("PeerAuthentication", "default", spec, group="security"))
        if self.chance(0.6):
            world = PolicyWorld(SERVER, (ELSEWHERE, CLIENT), (8000, 3306), 9999)
            for policy in PolicyDraws(self.random, world).policies():
                policy["metadata"]["namespace"] = NAMESPACE
                found.append(policy)
        return found

    def _sidecar(self) -> Json:
        listed = self.random.sample(("./*", f"*/{PARTS}", f"*/{EXT}", f"./{ALPHA}", "*/*"), self.pick((1, 2)))
        spec: Json = {"workloadSelector": {"labels": {"app": "client"}}, "egress": [{"hosts": listed}]}
        if self.chance(0.4):
            spec["outboundTrafficPolicy"] = {"mode": self.pick(("ALLOW_ANY", "REGISTRY_ONLY"))}
        return made("Sidecar", "client", spec)


_SERVER_LABELS = {"app": "server"}
_URIS: tuple[Json, ...] = (
    {"exact": "/info"},
    {"exact": "/"},
    {"prefix": "/info"},
    {"prefix": "/info/"},
    {"prefix": "/"},
    {"prefix": "/api"},
    {"regex": "/info/[0-9]+"},
    {"regex": "/(admin|api)/.*"},
    {"regex": "^/info$"},
)
