"""Calls drawn from a seed, for the mesh in which simulator and Envoys are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from controlplane.sim import Call, Http, Tls, Token
from tests.support.policy_draws import CLAIMS
from tests.support.sim_world import (
    ALPHA,
    CLIENT,
    ELSEWHERE,
    EXT,
    GATEWAY,
    HEADERS,
    PARTS,
    PASSED_BY,
    PATHS,
    SERVED,
    SERVER,
    STRANGER,
    VIPS,
    WILD,
)


@dataclass(frozen=True)
class Calls:
    """Draws of calls."""

    random: Random

    def pick(self, words: Sequence[Any]) -> Any:
        return self.random.choice(words)

    def chance(self, likely: float) -> bool:
        return self.random.random() < likely

    def call(self) -> Call:
        """A call of the client, to the gateway, or to the server from outside."""
        how = self.random.random()
        if how < 0.6:
            return self._of_client()
        return self._to_gateway() if how < 0.8 else self._to_server()

    def _of_client(self) -> Call:
        host = self.pick((*VIPS, PARTS, ALPHA, EXT, WILD, "unheard.example.com"))
        address = VIPS.get(host, PASSED_BY)
        if self.chance(0.1):
            address = self.pick(("11.0.1.1", "11.0.3.1", PASSED_BY, *VIPS.values()))
        name = host.replace("*", "a")
        if host == SERVED:
            port = self.pick((8000, 8000, 3306))
        else:
            port = self.pick((80, 80, 80, 8080, 3306, 443, 7000, 9999))
        if port == 443 or self.chance(0.05):
            tls = Tls(self.pick((name, name, EXT, "")))
            return Call(address, port, self._http(name) if self.chance(0.5) else None, tls, source=CLIENT)
        if port == 3306 and self.chance(0.8):
            return Call(address, port, source=CLIENT, silent=self.chance(0.1))
        http = None if self.chance(0.07) else self._http(name)
        return Call(address, port, http, source=CLIENT, silent=http is None and self.chance(0.3))

    def _to_gateway(self) -> Call:
        port = self.pick((8080, 8080, 8443, 9443, 9000))
        name = self.pick(
            ("shop.example.com", "api.shop.example.com", "b.shop.example.com", "other.example.com")
        )
        if port == 9443:
            sni = self.pick((EXT, PARTS, "other.example.com", "nobody.test"))
            return Call(GATEWAY, port, self._http(name), Tls(sni), "direct", ELSEWHERE)
        if port == 9000:
            return Call(GATEWAY, port, None, None, "direct", ELSEWHERE)
        tls = Tls(self.pick((name, name, "nobody.test"))) if port == 8443 else None
        return Call(GATEWAY, port, self._http(name), tls, "direct", ELSEWHERE)

    def _to_server(self) -> Call:
        port = self.pick((8000, 8000, 8000, 3306, 9999))
        tls = None
        if self.chance(0.2):
            tls = Tls(self.pick(("a.example.com", "")), self.pick(((), ("istio",), ("http/1.1",))))
        http = None if port == 3306 or self.chance(0.1) else self._http("server.foo")
        return Call(SERVER, port, http, tls, "inbound", ELSEWHERE)

    def _http(self, name: str) -> Http:
        headers = {key: (self.pick(words),) for key, words in HEADERS if self.chance(0.4)}
        authority = self.pick((name, name, name, name.upper(), f"{name}:80", name.partition(".")[0]))
        method = self.pick(("GET", "GET", "GET", "POST", "OPTIONS"))
        if method == "OPTIONS":
            origin = self.pick(("https://a.example", "https://b.example"))
            headers |= {"origin": (origin,), "access-control-request-method": ("GET",)}
        if self.chance(0.15):
            headers["x-forwarded-for"] = (self.pick(("192.0.2.7", "198.51.100.1, 203.0.113.9")),)
        http2 = self.chance(0.15)
        return Http(self.pick(PATHS), authority, method, headers, http2, self._token())

    def _token(self) -> Token | None:
        if self.chance(0.7):
            return None
        claims = self.pick((*CLAIMS, {"iss": STRANGER.name}))
        return Token({"sub": "alice", **claims}, valid=self.chance(0.8))
