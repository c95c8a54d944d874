"""HTTP filters: which end a request, and what they say then."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.sim import Call, Http, Outcome, Served, Token, simulate
from tests.unit.sim.messages import http_filter, static, web

ANY = "type.googleapis.com/envoy.extensions.filters.http."
TO = {"match": {"prefix": "/"}, "route": {"cluster": "c"}}
ANYBODY = [{"any": True}]


def ask(served: Served, **more: Any) -> Outcome:
    http = Http(**{"path": "/", "authority": "a.test", **more})
    return simulate(served, Call("10.0.0.1", 80, http, way="direct", source="10.9.9.9"))


def guarded(rules: dict[str, Any], own: dict[str, Any] | None = None) -> Served:
    """A filter with these rules, and a route with its own."""
    route: dict[str, Any] = dict(TO)
    if own is not None:
        route["typed_per_filter_config"] = {"rbac": {"@type": f"{ANY}rbac.v3.RBACPerRoute", **own}}
    filters = [http_filter("rbac", "rbac.v3.RBAC", **rules)]
    return web(route, filters=filters, clusters=[static("c", "10.1.0.1")])


def policy(permission: Any, principal: Any = None) -> dict[str, Any]:
    return {"permissions": [permission], "principals": [principal or {"any": True}]}


@pytest.mark.parametrize(
    ("action", "permission", "status"),
    [
        ("ALLOW", {"url_path": {"path": {"prefix": "/"}}}, None),
        ("ALLOW", {"url_path": {"path": {"exact": "/a"}}}, 403),
        ("DENY", {"header": {"name": ":method", "string_match": {"exact": "GET"}}}, 403),
        ("DENY", {"not_rule": {"destination_port": 80}}, None),
        ("DENY", {"and_rules": {"rules": [{"destination_port": 80}, {"any": True}]}}, 403),
        (
            "ALLOW",
            {"or_rules": {"rules": [{"destination_port": 81}, {"requested_server_name": {"exact": ""}}]}},
            None,
        ),
        ("LOG", {"any": True}, None),
    ],
)
def test_access(action: str, permission: dict[str, Any], status: int | None) -> None:
    outcome = ask(guarded({"rules": {"action": action, "policies": {"p": policy(permission)}}}))
    assert outcome.end.status == status
    if status:
        named = "p" if action == "DENY" else "none"
        assert outcome.end.details == f"rbac_access_denied_matched_policy[{named}]"
        assert outcome.end.body == b"RBAC: access denied"


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ({"direct_remote_ip": {"address_prefix": "10.9.0.0", "prefix_len": 16}}, True),
        ({"direct_remote_ip": {"address_prefix": "10.8.0.0", "prefix_len": 16}}, False),
        ({"remote_ip": {"address_prefix": "192.0.2.0", "prefix_len": 24}}, True),
        ({"authenticated": {"principal_name": {"prefix": "spiffe://"}}}, False),
        ({"authenticated": {}}, False),
        ({"not_id": {"authenticated": {}}}, True),
    ],
)
def test_principals(principal: dict[str, Any], allowed: bool) -> None:
    served = guarded({"rules": {"policies": {"p": policy({"any": True}, principal)}}})
    outcome = ask(served, headers={"x-forwarded-for": ("198.51.100.1, 192.0.2.7",)})
    assert outcome.end.kind == ("http" if allowed else "answer")


def test_the_route_has_the_last_word() -> None:
    closed: dict[str, Any] = {"rules": {"policies": {}}}
    assert ask(guarded(closed)).end.status == 403
    assert ask(guarded(closed, {"rbac": {}})).end.kind == "http"
    denying = {"rbac": {"rules": {"action": "DENY", "policies": {"own": policy({"any": True})}}}}
    assert "own" in ask(guarded({}, denying)).end.details


def test_what_no_rule_of_ours_knows_is_no_guess() -> None:
    conditional = {**policy({"any": True}), "condition": {"const_expr": {"bool_value": True}}}
    outcome = ask(guarded({"rules": {"policies": {"p": conditional}}}))
    assert outcome.end.kind == "unknown" and "CEL" in outcome.end.details


def fault(**config: Any) -> Served:
    own = {"fault": {"@type": f"{ANY}fault.v3.HTTPFault", **config}}
    filters = [http_filter("fault", "fault.v3.HTTPFault")]
    return web({**TO, "typed_per_filter_config": own}, filters=filters, clusters=[static("c", "10.1.0.1")])


def test_faults() -> None:
    percentage = {"numerator": 25, "denominator": "HUNDRED"}
    outcome = ask(fault(abort={"http_status": 418, "percentage": percentage}))
    found = {(share.end.kind, share.end.status): share.probability for share in outcome.shares}
    assert found == pytest.approx({("answer", 418): 0.25, ("http", None): 0.75})
    assert outcome.clusters() == pytest.approx({"": 0.25, "c": 0.75})
    late = fault(delay={"fixed_delay": "1.5s", "percentage": {"numerator": 100}})
    assert ask(late).end.delayed == 1_500_000_000
    both = fault(
        delay={"fixed_delay": "1s", "percentage": {"numerator": 100}},
        abort={"http_status": 500, "percentage": {"numerator": 100}},
    )
    assert ask(both).end.flags == "DI,FI"


def tokens(**requires: Any) -> Served:
    provider = {"issuer": "i", "local_jwks": {"inline_string": "{}"}, "payload_in_metadata": "payload"}
    config: dict[str, Any] = {
        "providers": {"p": provider, "q": {**provider, "issuer": "j", "audiences": ["shop"]}},
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
    }
    path = [{"key": "payload"}, {"key": "sub"}]
    claim = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": path,
        "value": {"string_match": {"exact": "alice"}},
    }
    alice = {"match": {"prefix": "/", "dynamic_metadata": [claim]}, "direct_response": {"status": 204}}
    config["providers"]["p"]["clear_route_cache"] = True
    # It has asked for the route before there are claims.
    early = http_filter("fault", "fault.v3.HTTPFault")
    filters = [early, http_filter("envoy.filters.http.jwt_authn", "jwt_authn.v3.JwtAuthentication", **config)]
    return web(alice, TO, filters=filters, clusters=[static("c", "10.1.0.1")])


ONE = {"provider_name": "p"}
OPTIONAL = {"requires_any": {"requirements": [ONE, {"allow_missing": {}}]}}
EITHER = {"requires_any": {"requirements": [ONE, {"provider_name": "q"}]}}


@pytest.mark.parametrize(
    ("requires", "token", "status", "why"),
    [
        (ONE, None, 401, "Jwt is missing"),
        (ONE, Token({"iss": "i", "sub": "bob"}), None, ""),
        (ONE, Token({"iss": "i", "sub": "alice"}), 204, ""),
        (ONE, Token({"iss": "i", "sub": "alice"}, valid=False), 401, "Jwt verification fails"),
        (ONE, Token({"iss": "x"}), 401, "Jwt issuer is not configured"),
        (ONE, Token({"iss": "i"}, header="x-token"), 401, "Jwt is missing"),
        (OPTIONAL, None, None, ""),
        (OPTIONAL, Token({"iss": "i"}, valid=False), 401, "Jwt verification fails"),
        (EITHER, Token({"iss": "j", "aud": ["bank", "shop"]}), None, ""),
        (EITHER, Token({"iss": "i"}, valid=False), 401, "Jwt verification fails"),
        (EITHER, Token({"iss": "x"}), 401, "Jwt issuer is not configured"),
        (OPTIONAL, Token({"iss": "x"}), 401, "Jwt issuer is not configured"),
        ({"provider_name": "q"}, Token({"iss": "j", "aud": "bank"}), 403, "Audiences in Jwt are not allowed"),
        ({"allow_missing_or_failed": {}}, Token({"iss": "x"}), None, ""),
    ],
)
def test_tokens(requires: dict[str, Any], token: Token | None, status: int | None, why: str) -> None:
    end = ask(tokens(**requires), token=token).end
    assert end.status == status
    if why:
        assert end.body == why.encode()
        assert end.details == "jwt_authn_access_denied{" + why.replace(" ", "_") + "}"


def test_preflights() -> None:
    own: dict[str, Any] = {"cors": {"@type": f"{ANY}cors.v3.CorsPolicy"}}
    own["cors"]["allow_origin_string_match"] = [{"exact": "https://a.test"}]
    filters = [http_filter("cors", "cors.v3.Cors")]
    served = web({**TO, "typed_per_filter_config": own}, filters=filters, clusters=[static("c", "10.1.0.1")])
    headers = {"origin": ("https://a.test",), "access-control-request-method": ("GET",)}
    assert ask(served, method="OPTIONS", headers=headers).end.status == 200
    other = {**headers, "origin": ("https://b.test",)}
    assert ask(served, method="OPTIONS", headers=other).end.kind == "http"
    assert ask(served, headers=headers).end.kind == "http"


def test_others_that_decide_are_doubts() -> None:
    bucket = {"max_tokens": 1, "fill_interval": "60s"}
    limit = http_filter("limit", "local_ratelimit.v3.LocalRateLimit", stat_prefix="x", token_bucket=bucket)
    asks = http_filter("asks", "ext_authz.v3.ExtAuthz")
    lua = http_filter("lua", "lua.v3.Lua")
    served = web(TO, filters=[asks, limit, lua], clusters=[static("c", "10.1.0.1")])
    outcome = ask(served)
    assert outcome.end.kind == "http"
    assert [doubt.partition(":")[0] for doubt in outcome.doubts] == ["asks", "limit", "lua"]
