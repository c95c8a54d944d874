"""The HTTP filters of a connection manager, in their order, up to the router.

Each may end the request, for all such requests or by chance; note what later ones and routes look at; or be
something that only running it could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from controlplane.sim import rbac
from controlplane.sim.forwarding import answer_or_forward
from controlplane.sim.matchers import header_matches, text_matches
from controlplane.sim.outcome import End
from controlplane.sim.request import Found, Request
from controlplane.sim.routes import find_route, secured, share_of
from controlplane.sim.tokens import check_tokens
from controlplane.sim.walk import CannotTell, Walk, kind_of, unpacked

_PACKAGE = "envoy.extensions.filters.http."
_NANO = 1_000_000_000
# They look on, or write down; no request ends at them.
_HARMLESS = frozenset(
    {
        "grpc_stats.v3.FilterConfig",
        "grpc_web.v3.GrpcWeb",
        "on_demand.v3.OnDemand",
        "header_to_metadata.v3.Config",
        "set_metadata.v3.Config",
        "compressor.v3.Compressor",
        "grpc_http1_bridge.v3.Config",
    }
)


class Passage:
    """A request on its way through the filters of a manager; its route is found when somebody asks for it."""

    __slots__ = ("_asked", "_route", "configuration", "dialled", "request", "walk")

    def __init__(self, walk: Walk, request: Request, configuration: Any, dialled: str) -> None:
        self.walk = walk
        self.request = request
        self.configuration = configuration
        self.dialled = dialled
        self._asked = False
        self._route: Found | None = None

    @property
    def found(self) -> Found | None:
        """The route, its virtual host alone where none of its routes matches, or None."""
        if not self._asked:
            self._asked = True
            self._route = find_route(self.walk, self.configuration, self.request)
        return self._route

    def choose_again(self) -> None:
        """What a filter noted may lead to another route."""
        self._asked = False

    def own(self, name: str) -> Iterator[Any]:
        """What route, virtual host and configuration say of a filter, the most specific first.

        A request without a route has none of it.
        """
        found = self.found
        if found is None or found.route is None:
            return
        levels = (found.route, found.virtual_host, found.configuration)
        for level in levels:
            if name in level.typed_per_filter_config:
                yield level.typed_per_filter_config[name]

    def end(self, status: int, flags: str, details: str, probability: float = 1.0, **more: Any) -> None:
        """The filter answers."""
        route = self.found.route.name if self.found is not None and self.found.route is not None else ""
        self.walk.finish(End("answer", status, flags, details, route=route, **more), probability)


def pass_filters(passage: Passage, filters: Any) -> None:
    """Through all filters; the walk is over afterwards."""
    for one in filters:
        if passage.walk.left <= 0.0:
            return
        config = _configured(passage.walk, one)
        kind = kind_of(config).removeprefix(_PACKAGE)
        if one.disabled or kind in _HARMLESS:
            continue
        play = _FILTERS.get(kind)
        if play is None:
            passage.walk.doubt("filter", one.name, f"{kind or 'what was not served'} is not simulated")
        else:
            play(passage, one.name, unpacked(config))
    if passage.walk.left > 0.0 and not passage.walk.shares:
        raise CannotTell("a connection manager without a router")


def _configured(walk: Walk, one: Any) -> Any:
    """The configuration of a filter, which may come by ECDS under the filter's name."""
    served = walk.served.extensions.get(one.name) if one.HasField("config_discovery") else None
    return one.typed_config if served is None else served.typed_config


def _rbac(passage: Passage, name: str, config: Any) -> None:
    for own in passage.own(name):
        per_route = unpacked(own)
        if per_route is not None:
            config = per_route.rbac
        break
    if not config.HasField("rules"):
        return
    allowed, policy = rbac.judged(config.rules, subject_of(passage.request))
    passage.walk.step("filter", name, f"{'lets it pass' if allowed else 'refuses it'}: policy {policy}")
    if not allowed:
        details = f"rbac_access_denied_matched_policy[{policy}]"
        passage.end(403, "", details, body=b"RBAC: access denied")


def subject_of(request: Request) -> rbac.Subject:
    """The request as rules see it."""
    return rbac.Subject(
        request.connection,
        request.identity,
        request.encrypted,
        request.headers,
        request.metadata,
        request.remote,
    )


def _fault(passage: Passage, name: str, config: Any) -> None:
    own = next(passage.own(name), None)
    config = config if own is None else unpacked(own)
    if not all(header_matches(one, passage.request.headers) for one in config.headers):
        return
    chance = share_of(config.delay.percentage) if config.HasField("delay") else 0.0
    late = config.delay.fixed_delay.seconds * _NANO + config.delay.fixed_delay.nanos
    if chance and late:
        passage.walk.step("filter", name, f"delays {chance:.0%} of the requests")
        passage.walk.delayed = late
    if not config.HasField("abort"):
        return
    abort = share_of(config.abort.percentage)
    if abort:
        passage.walk.step("filter", name, f"aborts {abort:.0%} of the requests")
        status = config.abort.http_status or 200
        flags = "DI,FI" if chance >= 1.0 and late else "FI"
        passage.end(status, flags, "fault_filter_abort", abort)


def _cors(passage: Passage, name: str, _config: Any) -> None:
    request = passage.request
    if request.http.method != "OPTIONS" or "origin" not in request.headers:
        return
    if "access-control-request-method" not in request.headers:
        return
    for own in passage.own(name):
        policy = unpacked(own)
        if policy is None:
            raise CannotTell("a CORS policy")
        origins = policy.allow_origin_string_match
        if any(text_matches(one, request.header("origin")) for one in origins):
            passage.walk.step("filter", name, "answers the preflight request")
            passage.end(200, "", "cors_response")
        elif not policy.forward_not_matching_preflights.value and policy.HasField(
            "forward_not_matching_preflights"
        ):
            passage.walk.step(
                "filter", name, "answers a preflight request of an origin that it does not know"
            )
            passage.end(200, "", "cors_response")
        return


def _jwt(passage: Passage, name: str, config: Any) -> None:
    refusal = check_tokens(config, passage.request)
    if refusal is not None:
        passage.walk.step("filter", name, f"refuses it: {refusal.why}")
        passage.end(refusal.status, "", refusal.details, body=refusal.why.encode())
        return
    if name in passage.request.metadata:
        passage.walk.step("filter", name, "accepts the token")
        if any(one.clear_route_cache for one in config.providers.values()):
            passage.choose_again()


def _external(passage: Passage, name: str, _config: Any) -> None:
    passage.walk.doubt("filter", name, "somebody else decides")


def _limit(passage: Passage, name: str, config: Any) -> None:
    own = next(passage.own(name), None)
    config = config if own is None else unpacked(own)
    if config is None or config.HasField("token_bucket"):
        passage.walk.doubt("filter", name, "answers 429 to what is too much")


def _dynamic(passage: Passage, _name: str, _config: Any) -> None:
    authority = passage.request.authority
    port = "" if authority.rpartition(":")[2].isdecimal() else ":443" if passage.request.encrypted else ":80"
    passage.walk.target = authority + port


def _health(passage: Passage, name: str, config: Any) -> None:
    if all(header_matches(one, passage.request.headers) for one in config.headers):
        passage.walk.step("filter", name, "answers the health check")
        passage.end(200, "", "health_check_ok")


def _router(passage: Passage, name: str, _config: Any) -> None:
    walk, request = passage.walk, passage.request
    found = passage.found
    if found is not None and secured(found, request):
        where = f"https://{request.authority}{request.path}"
        walk.step("virtual host", found.virtual_host.name, "demands HTTPS")
        walk.finish(End("answer", 301, details="direct_response", location=where))
        return
    if found is None or found.route is None:
        walk.finish(End("answer", 404, "NR", "route_not_found"))
        return
    answer_or_forward(walk, request, found, passage.dialled)


_FILTERS: dict[str, Callable[[Passage, str, Any], None]] = {
    "cors.v3.Cors": _cors,
    "dynamic_forward_proxy.v3.FilterConfig": _dynamic,
    "ext_authz.v3.ExtAuthz": _external,
    "ext_proc.v3.ExternalProcessor": _external,
    "fault.v3.HTTPFault": _fault,
    "health_check.v3.HealthCheck": _health,
    "jwt_authn.v3.JwtAuthentication": _jwt,
    "local_ratelimit.v3.LocalRateLimit": _limit,
    "ratelimit.v3.RateLimit": _external,
    "rbac.v3.RBAC": _rbac,
    "router.v3.Router": _router,
}
