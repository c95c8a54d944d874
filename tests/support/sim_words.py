"""Listeners and routes in Envoy's own words, drawn from a seed: also what no translator here ever says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from controlplane.sim import Call, Http, Tls

Json = dict[str, Any]

_EXT = "type.googleapis.com/envoy.extensions."
_NAMES = ("a.test", "b.a.test", "c.b.a.test", "x.org", "shop.a.test")
_DOMAINS = ("a.test", "*.a.test", "*.b.a.test", "*-x.a.test", "a.*", "shop.*", "x.org", "b.a.*")
_PATHS = (
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/A",
    "/ab",
    "/a//b",
    "/a/./b/../c",
    "/a%2Fb",
    "/%61",
    "/a?x=1",
    "/a?x=2&y",
    "/a;v=1",
)
_WORDS = ("1", "2", "10", "red", "RED", "redder", "")
_ALPN = ("http/1.1", "h2", "istio")
_REGEXES = ("/a(/.*)?", "^/[a-c]+$", "(?i)/A", "/a.b", r"/[[:alpha:]]/\w", "/(a|ab)", "/a/?", r"/.*\.")
_SOURCES, _ADDRESSES = ("127.0.0.1", "127.0.1.1", "127.1.0.1"), ("127.0.0.1", "127.0.0.2", "127.2.0.1")
_BLOCKS = (("127.0.0.0", 8), ("127.0.0.0", 16), ("127.0.0.0", 24), ("127.0.0.1", 32), ("10.0.0.0", 8))


@dataclass(frozen=True)
class Words:
    """Draws from a seed; equal seeds, equal draws."""

    random: Random

    def pick(self, words: Sequence[Any]) -> Any:
        return self.random.choice(words)

    def chance(self, likely: float) -> bool:
        return self.random.random() < likely

    def listener(self, port: int, log: str) -> Json:
        """A listener of a port, with chains of which no two have equal conditions."""
        matches: dict[str, Json] = {}
        for _ in range(self.pick((1, 2, 3, 4, 6))):
            match = self._chain_match(port)
            matches.setdefault(repr(sorted(match.items())), match)
        routes = self._routes()
        chains = [_chain(f"chain-{n}", routes, match) for n, match in enumerate(matches.values())]
        filters = [name for name in ("tls_inspector", "http_inspector") if self.chance(0.7)]
        address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
        found: Json = {
            "name": f"l{port}",
            "address": address,
            "filter_chains": chains,
            "access_log": [_log(log)],
        }
        found["listener_filters"] = [_inspector(name) for name in filters]
        if self.chance(0.4):
            found["default_filter_chain"] = _chain("default", routes, {})
        return found

    def call(self, port: int) -> Call:
        """A call to a listener."""
        tls = None
        if self.chance(0.3):
            offered = self.random.sample(_ALPN, self.pick((0, 1, 2)))
            tls = Tls(self.pick((*_NAMES, "")), tuple(offered))
        headers = {name: (self.pick(_WORDS),) for name in ("x-a", "x-b") if self.chance(0.5)}
        if self.chance(0.1):
            headers["x-a"] = ("1", "2")  # type: ignore[assignment]
        authority = self.pick(_NAMES) + self.pick(("", "", ":80"))
        if self.chance(0.1):
            authority = authority.upper()
        method = self.pick(("GET", "POST"))
        http = None if self.chance(0.1) else Http(self.pick(_PATHS), authority, method, headers)
        return Call(self.pick(_ADDRESSES), port, http, tls, "direct", self.pick(_SOURCES))

    def _chain_match(self, port: int) -> Json:
        match: Json = {}
        if self.chance(0.2):
            match["destination_port"] = self.pick((port, port, 1))
        if self.chance(0.3):
            match["prefix_ranges"] = [self._block()]
        if self.chance(0.4):
            match["server_names"] = [self.pick(("a.test", "*.a.test", "*.b.a.test", "b.a.test"))]
        if self.chance(0.4):
            match["transport_protocol"] = self.pick(("tls", "raw_buffer"))
        if self.chance(0.4):
            match["application_protocols"] = [self.pick(_ALPN)]
        if self.chance(0.15):
            match["direct_source_prefix_ranges"] = [self._block()]
        if self.chance(0.15):
            match["source_type"] = self.pick(("SAME_IP_OR_LOOPBACK", "EXTERNAL"))
        if self.chance(0.2):
            match["source_prefix_ranges"] = [self._block()]
        return match

    def _block(self) -> Json:
        address, length = self.pick(_BLOCKS)
        return {"address_prefix": address, "prefix_len": length}

    def _routes(self) -> Json:
        domains = self.random.sample(_DOMAINS, self.pick((1, 2, 3)))
        if self.chance(0.6):
            domains.append("*")
        hosts = [self._host(f"host-{n}", domain) for n, domain in enumerate(domains)]
        return {"virtual_hosts": hosts, "ignore_port_in_host_matching": self.chance(0.5)}

    def _host(self, name: str, domain: str) -> Json:
        routes = [self._route(f"{name}.{n}") for n in range(self.pick((1, 2, 3, 4)))]
        found: Json = {"name": name, "domains": [domain], "routes": routes}
        if self.chance(0.1):
            found["require_tls"] = self.pick(("ALL", "EXTERNAL_ONLY"))
        return found

    def _route(self, name: str) -> Json:
        route: Json = {"name": name, "match": self._match()}
        if self.chance(0.3):
            route["redirect"] = self._redirect()
        else:
            route["direct_response"] = {"status": self.pick((200, 404, 503)), "body": {"inline_string": name}}
        return route

    def _match(self) -> Json:
        how = self.pick(("path", "prefix", "prefix", "path_separated_prefix", "safe_regex"))
        match: Json = {
            how: {"regex": self.pick(_REGEXES)}
            if how == "safe_regex"
            else self.pick(("/a", "/A", "/a/b", "/ab"))
        }
        if how == "prefix" and self.chance(0.5):
            match["prefix"] = "/"
        if how != "safe_regex" and self.chance(0.2):
            match["case_sensitive"] = False
        if self.chance(0.4):
            match["headers"] = [self._header() for _ in range(self.pick((1, 1, 2)))]
        if self.chance(0.2):
            condition = self.pick(({"string_match": {"exact": "1"}}, {"present_match": True}))
            match["query_parameters"] = [{"name": self.pick(("x", "y")), **condition}]
        return match

    def _header(self) -> Json:
        word = self.pick(_WORDS[:-1])
        texts = [{how: word} for how in ("exact", "prefix", "suffix", "contains")]
        text: Json = {**self.pick(texts), "ignore_case": self.chance(0.3)}
        regex = {"safe_regex": {"regex": self.pick(("[0-9]+", "(?i)r.d", "r*"))}}
        whole = {"range_match": {"start": 1, "end": 10}}
        condition = self.pick(
            ({"string_match": text}, {"string_match": regex}, whole, {"present_match": self.chance(0.7)})
        )
        name = self.pick(("x-a", "X-B", ":method", "x-c"))
        found: Json = {"name": name, **condition, "invert_match": self.chance(0.3)}
        if self.chance(0.2):
            found["treat_missing_header_as_empty"] = True
        return found

    def _redirect(self) -> Json:
        redirect: Json = {"response_code": self.pick(("MOVED_PERMANENTLY", "FOUND", "PERMANENT_REDIRECT"))}
        if self.chance(0.3):
            redirect["https_redirect"] = True
        elif self.chance(0.2):
            redirect["scheme_redirect"] = "https"
        if self.chance(0.3):
            redirect["host_redirect"] = "new.test"
        if self.chance(0.3):
            redirect["port_redirect"] = 8443
        how = self.random.random()
        if how < 0.3:
            redirect["path_redirect"] = self.pick(("/new", "/new?z=1"))
        elif how < 0.5:
            redirect["prefix_rewrite"] = self.pick(("/new", "/new/", "/"))
        elif how < 0.7:
            pattern = self.pick(("/(.)(.*)", "a", "[a-z]*"))
            substitution = self.pick((r"/\2\1", "-", r"\0\0")) if "(" in pattern else "-"
            redirect["regex_rewrite"] = {"pattern": {"regex": pattern}, "substitution": substitution}
        redirect["strip_query"] = self.chance(0.3)
        return redirect


def _chain(name: str, routes: Json, match: Json) -> Json:
    manager = {
        "@type": f"{_EXT}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": routes,
        "normalize_path": True,
        "merge_slashes": True,
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{_EXT}filters.http.router.v3.Router"}}
        ],
    }
    found: Json = {"name": name, "filters": [{"name": "hcm", "typed_config": manager}]}
    if match:
        found["filter_chain_match"] = match
    return found


def _inspector(name: str) -> Json:
    kind = {"tls_inspector": "TlsInspector", "http_inspector": "HttpInspector"}[name]
    return {"name": name, "typed_config": {"@type": f"{_EXT}filters.listener.{name}.v3.{kind}"}}


def _log(path: str) -> Json:
    said = {
        "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%",
        "chain": "%FILTER_CHAIN_NAME%",
        "flags": "%RESPONSE_FLAGS%",
    }
    file = {"@type": f"{_EXT}access_loggers.file.v3.FileAccessLog", "path": path}
    return {"name": "file", "typed_config": {**file, "log_format": {"json_format": said}}}
