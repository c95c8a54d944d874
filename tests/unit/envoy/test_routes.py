"""Route configurations: what Envoy gets for routes, and which configurations a client gets at all."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.mesh.scope import Scope
from controlplane.model.keys import Key
from tests.unit.envoy.traffic import Traffic, clusters, domains, virtual_service
from tests.unit.mesh.world import ProxyView, pod, service

REVIEWS = "reviews.default.svc.cluster.local"
CLUSTER = f"outbound|9080||{REVIEWS}"
TO = "route: [{destination: {host: reviews}}]"


def route(rule: str, extra: str = "") -> Any:
    """The only route of a rule, as Envoy gets it."""
    world = Traffic(
        service("reviews", "http=9080") + virtual_service("v", "[reviews]", f"[{{{rule}}}]") + extra
    )
    (found,) = world.host("9080", REVIEWS).routes
    return found


def headers(added: Any) -> list[tuple[str, str, str]]:
    actions = pb.base.HeaderValueOption.HeaderAppendAction
    return [(h.header.key, h.header.value, actions.Name(h.append_action).split("_")[0]) for h in added]


class TestConfiguration:
    def test_its_own_settings(self) -> None:
        config = Traffic(service("reviews", "http=9080")).routes()["9080"]
        assert config.name == "9080"
        assert config.validate_clusters.value is False and config.HasField("validate_clusters")
        assert config.ignore_port_in_host_matching
        assert config.max_direct_response_body_size_bytes.value == 1 << 20
        assert all(host.include_request_attempt_count for host in config.virtual_hosts)

    def test_a_service_without_rules(self) -> None:
        (found,) = Traffic(service("reviews", "http=9080")).host("9080", REVIEWS).routes
        assert (found.name, found.match.prefix, found.route.cluster) == ("default", "/", CLUSTER)
        assert found.route.HasField("timeout") and found.route.timeout.seconds == 0
        assert found.route.retry_policy.num_retries.value == 2
        assert found.route.retry_policy.host_selection_retry_max_attempts == 5
        assert found.decorator.operation == f"{REVIEWS}:9080/*"
        assert not found.HasField("metadata")

    def test_only_http_ports_have_routes(self) -> None:
        world = Traffic(service("a", "http=80, grpc=81, tcp=82, https=443, mongo=83, web=84", ip="10.96.0.1"))
        assert set(world.routes()) == {"80", "81", "a.default.svc.cluster.local:84"}

    def test_a_port_found_out_on_its_own_address_has_its_own_routes(self) -> None:
        world = Traffic(service("a", "web=84", ip="10.96.0.1"))
        (host,) = world.routes()["a.default.svc.cluster.local:84"].virtual_hosts
        assert list(host.domains) == ["*"]
        assert host.routes[0].route.cluster == "outbound|84||a.default.svc.cluster.local"

    def test_it_is_among_the_hosts_of_its_port_too_where_that_has_routes(self) -> None:
        world = Traffic(service("a", "web=84", ip="10.96.0.1") + service("b", "http=84", ip="10.96.0.2"))
        assert list(domains(world.routes()["84"])) == [
            "a.default.svc.cluster.local:84",
            "b.default.svc.cluster.local:84",
            "allow_any",
        ]

    def test_private_services_are_seen_in_their_namespace_only(self) -> None:
        annotation = "annotations: {networking.istio.io/exportTo: '.'}"
        text = service("reviews", "http=9080").replace("metadata: {", "metadata: {" + annotation + ", ")
        world = Traffic(text + service("open", "http=9080"))
        assert f"{REVIEWS}:9080" in domains(world.routes()["9080"])
        assert f"{REVIEWS}:9080" not in domains(world.routes("prod")["9080"])


class TestRest:
    def last(self, world: Traffic, who: str | ProxyView = "default") -> Any:
        return world.routes(who)["9080"].virtual_hosts[-1]

    def test_goes_where_it_wanted(self) -> None:
        host = self.last(Traffic(service("reviews", "http=9080")))
        assert (host.name, list(host.domains)) == ("allow_any", ["*"])
        assert host.routes[0].route.cluster == "PassthroughCluster"
        assert host.routes[0].route.HasField("timeout")

    def test_is_refused_where_only_the_registry_counts(self) -> None:
        world = Traffic(
            service("reviews", "http=9080")
            + "kind: MeshConfig\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
        )
        host = self.last(world)
        assert host.name == "block_all"
        assert host.routes[0].direct_response.status == 502

    def test_goes_to_the_sidecars_egress_proxy(self) -> None:
        world = Traffic(
            service("reviews", "http=9080")
            + """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: default}
spec:
  egress: [{hosts: ["*/*"]}]
  outboundTrafficPolicy:
    mode: ALLOW_ANY
    egressProxy: {host: egress.prod.svc.cluster.local, port: {number: 8080}}
"""
        )
        view = ProxyView(Scope("default", Key("default", "s")), None)
        cluster = "outbound|8080||egress.prod.svc.cluster.local"
        assert self.last(world, view).routes[0].route.cluster == cluster


class TestMatch:
    @pytest.mark.parametrize(
        ("match", "field", "value"),
        [
            ("uri: {exact: /a}", "path", "/a"),
            ("uri: {prefix: /a}", "prefix", "/a"),
            ("uri: {regex: '/a.*'}", "safe_regex", "/a.*"),
            ("method: {exact: GET}", "prefix", "/"),
        ],
    )
    def test_path(self, match: str, field: str, value: str) -> None:
        found = route(f"match: [{{{match}}}], {TO}").match
        assert found.WhichOneof("path_specifier") == field
        assert (found.safe_regex.regex if field == "safe_regex" else getattr(found, field)) == value
        assert not found.HasField("case_sensitive")

    def test_case(self) -> None:
        found = route(f"match: [{{uri: {{prefix: /A}}, ignoreUriCase: true}}], {TO}").match
        assert found.HasField("case_sensitive") and not found.case_sensitive.value

    def test_headers(self) -> None:
        found = route(
            "match: [{headers: {a: {exact: x}, b: {prefix: x}, c: {regex: x}, d: {}}, "
            f"withoutHeaders: {{e: {{exact: x}}, f: {{}}}}}}], {TO}"
        ).match.headers
        plain = [(h.name, h.string_match.WhichOneof("match_pattern"), h.present_match) for h in found]
        assert plain == [
            ("a", "exact", False),
            ("b", "prefix", False),
            ("c", "safe_regex", False),
            ("d", None, True),
            ("e", "exact", False),
            ("f", None, True),
        ]
        assert [h.invert_match for h in found] == [False] * 4 + [True] * 2
        # Absence is "not this value", but presence is what the last one asks about.
        assert [h.treat_missing_header_as_empty for h in found] == [False] * 4 + [True, False]

    def test_query(self) -> None:
        found = route(f"match: [{{queryParams: {{a: {{exact: x}}, b: {{}}}}}}], {TO}").match.query_parameters
        assert [(p.name, p.string_match.exact, p.present_match) for p in found] == [
            ("a", "x", False),
            ("b", "", True),
        ]


class TestAction:
    def test_shares(self) -> None:
        found = route(
            "route: [{destination: {host: reviews, subset: v1}, weight: 9}, "
            "{destination: {host: reviews, subset: v2}, weight: 1}]"
        )
        assert clusters(found) == [(f"outbound|9080|v1|{REVIEWS}", 9), (f"outbound|9080|v2|{REVIEWS}", 1)]

    def test_rewrites(self) -> None:
        prefix = route(f"match: [{{uri: {{prefix: /a}}}}], rewrite: {{uri: /b, authority: x}}, {TO}").route
        assert (prefix.prefix_rewrite, prefix.host_rewrite_literal) == ("/b", "x")
        regex = route(f"match: [{{uri: {{regex: '/a'}}}}], rewrite: {{uri: /b}}, {TO}").route.regex_rewrite
        assert (regex.pattern.regex, regex.substitution) == ("/a", "/b")

    def test_retries(self) -> None:
        found = route(
            "retries: {attempts: 3, perTryTimeout: 1s, retryOn: '5xx,429', retryRemoteLocalities: true, "
            f"backoff: 5ms, retryIgnorePreviousHosts: false}}, {TO}"
        ).route.retry_policy
        assert (found.num_retries.value, found.retry_on) == (3, "5xx,retriable-status-codes")
        assert list(found.retriable_status_codes) == [429]
        assert found.per_try_timeout.seconds == 1
        assert found.retry_back_off.base_interval.nanos == 5_000_000
        assert found.retry_priority.name == "envoy.retry_priorities.previous_priorities"
        assert not found.retry_host_predicate

    def test_no_retries(self) -> None:
        assert not route(f"retries: {{attempts: 0}}, {TO}").route.HasField("retry_policy")

    def test_mirrors(self) -> None:
        (found,) = route(
            f"mirrors: [{{destination: {{host: reviews}}, percentage: {{value: 12.5}}}}], {TO}"
        ).route.request_mirror_policies
        assert (found.cluster, found.runtime_fraction.default_value.numerator) == (CLUSTER, 125_000)
        assert found.disable_shadow_host_suffix_append
        assert found.HasField("trace_sampled") and not found.trace_sampled.value

    def test_redirect(self) -> None:
        found = route(
            "redirect: {uri: /n, authority: a, scheme: https, port: 8443, redirectCode: 308}"
        ).redirect
        assert (found.path_redirect, found.host_redirect, found.scheme_redirect) == ("/n", "a", "https")
        assert found.port_redirect == 8443
        assert found.response_code == found.PERMANENT_REDIRECT

    def test_direct_response(self) -> None:
        found = route("directResponse: {status: 418, body: {string: tea}}").direct_response
        assert (found.status, found.body.inline_bytes) == (418, b"tea")

    def test_headers(self) -> None:
        found = route(
            "headers: {request: {set: {a: '1'}, add: {b: '2'}, remove: [c]}, response: {add: {d: '4'}}}, "
            "route: [{destination: {host: reviews}, "
            "headers: {request: {set: {a: '9'}}, response: {remove: [e]}}}]"
        )
        assert headers(found.request_headers_to_add) == [
            ("a", "1", "OVERWRITE"),
            ("b", "2", "APPEND"),
            ("a", "9", "OVERWRITE"),
        ]
        assert list(found.request_headers_to_remove) == ["c"]
        assert headers(found.response_headers_to_add) == [("d", "4", "APPEND")]
        assert list(found.response_headers_to_remove) == ["e"]

    def test_headers_of_shares(self) -> None:
        found = route(
            "route: [{destination: {host: reviews}, weight: 1, "
            "headers: {request: {set: {a: '1', host: h}}}}, "
            "{destination: {host: x}, weight: 1}]"
        )
        first, second = found.route.weighted_clusters.clusters
        assert headers(first.request_headers_to_add) == [("a", "1", "OVERWRITE")]
        assert (first.host_rewrite_literal, second.host_rewrite_literal) == ("h", "")
        assert not found.route.host_rewrite_literal

    def test_fault(self) -> None:
        found = route(
            "fault: {delay: {fixedDelay: 7s, percentage: {value: 0.5}}, "
            f"abort: {{httpStatus: 555, percentage: {{value: 100}}}}}}, {TO}"
        ).typed_per_filter_config["envoy.filters.http.fault"]
        fault = pb.fault.HTTPFault.FromString(found.value)
        assert (fault.delay.fixed_delay.seconds, fault.delay.percentage.numerator) == (7, 5_000)
        assert (fault.abort.http_status, fault.abort.percentage.numerator) == (555, 1_000_000)
        assert fault.abort.percentage.denominator == pb.percent.FractionalPercent.MILLION

    def test_cors(self) -> None:
        found = route(
            f"corsPolicy: {{allowOrigins: [{{exact: a}}], allowMethods: [GET, PUT], maxAge: 60s}}, {TO}"
        ).typed_per_filter_config["envoy.filters.http.cors"]
        cors = pb.cors.CorsPolicy.FromString(found.value)
        assert [origin.exact for origin in cors.allow_origin_string_match] == ["a"]
        assert (cors.allow_methods, cors.max_age, cors.HasField("allow_credentials")) == (
            "GET,PUT",
            "60",
            False,
        )
        assert cors.forward_not_matching_preflights.value

    def test_metadata_names_the_object(self) -> None:
        config = "/apis/networking.istio.io/v1/namespaces/default/virtual-service/v"
        assert route(TO).metadata.filter_metadata["istio"]["config"] == config


class TestAffinity:
    @pytest.mark.parametrize(
        ("hash_", "kind"),
        [
            ("httpHeaderName: x", "header"),
            ("httpCookie: {name: c, ttl: 1h, path: /}", "cookie"),
            ("useSourceIp: true", "connection_properties"),
            ("httpQueryParameterName: q", "query_parameter"),
        ],
    )
    @pytest.mark.parametrize("rules", ["", virtual_service("v", "[reviews]", f"[{{{TO}}}]")])
    def test_keys_come_from_the_destination_rule(self, hash_: str, kind: str, rules: str) -> None:
        world = Traffic(service("reviews", "http=9080") + rules + destination_rule(hash_))
        (found,) = world.host("9080", REVIEWS).routes
        (policy,) = found.route.hash_policy
        assert policy.WhichOneof("policy_specifier") == kind
        # A retry has to be free to take the host that the hash says.
        assert not found.route.retry_policy.retry_host_predicate

    def test_a_rule_of_the_clients_namespace_is_for_its_clients(self) -> None:
        world = Traffic(service("reviews", "http=9080") + destination_rule("useSourceIp: true", "prod"))
        assert not world.host("9080", REVIEWS).routes[0].route.hash_policy
        assert world.host("9080", REVIEWS, "prod").routes[0].route.hash_policy


def destination_rule(hash_: str, namespace: str = "default") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: r, namespace: {namespace}}}\n"
        f"spec: {{host: {REVIEWS}, trafficPolicy: {{loadBalancer: {{consistentHash: {{{hash_}}}}}}}}}\n---\n"
    )


class TestSourceLabels:
    RULE = (
        "[{name: mine, match: [{sourceLabels: {app: a}}], route: [{destination: {host: reviews}}]}, "
        "{name: rest, route: [{destination: {host: reviews}}]}]"
    )

    def test_by_the_labels_of_the_client(self) -> None:
        world = Traffic(
            service("reviews", "http=9080")
            + pod("a-1", "10.0.0.1", "app: a, pod-template-hash: x")
            + pod("b-1", "10.0.0.2", "app: b")
            + virtual_service("v", "[reviews]", self.RULE)
        )
        a = world.view("sidecar~10.0.0.1~a-1.default~default.svc.cluster.local")
        b = world.view("sidecar~10.0.0.2~b-1.default~default.svc.cluster.local")
        assert [r.name for r in world.host("9080", REVIEWS, a).routes] == ["mine"]
        assert [r.name for r in world.host("9080", REVIEWS, b).routes] == ["rest"]
        assert a.routes.matched == ((("app", "a"),),)

    def test_rules_that_leave_nothing_leave_the_service_as_it_is(self) -> None:
        rule = "[{name: mine, match: [{sourceLabels: {app: a}}], route: [{destination: {host: x}}]}]"
        world = Traffic(service("reviews", "http=9080") + virtual_service("v", "[reviews]", rule))
        (found,) = world.host("9080", REVIEWS).routes
        assert (found.name, found.route.cluster) == ("default", CLUSTER)


class TestInbound:
    TEXT = pod("a-1", "10.0.0.1", "app: a") + service(
        "a", "http=80:9080, grpc=81:9081, tcp=82:9082, web=83:9083", ip="10.96.0.1"
    )

    def test_one_per_port_that_may_carry_http(self) -> None:
        world = Traffic(self.TEXT)
        view = world.view("sidecar~10.0.0.1~a-1.default~default.svc.cluster.local")
        found = {name: config for name, config in world.routes(view).items() if name.startswith("inbound")}
        assert set(found) == {"inbound|9080||", "inbound|9081||", "inbound|9083||"}
        (host,) = found["inbound|9080||"].virtual_hosts
        assert (host.name, list(host.domains)) == ("inbound|http|80", ["*"])
        (only,) = host.routes
        assert (only.route.cluster, only.decorator.operation) == (
            "inbound|9080||",
            "a.default.svc.cluster.local:80/*",
        )
        assert only.route.retry_policy.retry_on == "reset-before-request"
        assert not only.route.retry_policy.retry_host_predicate
        assert only.route.HasField("timeout")
        assert not found["inbound|9081||"].virtual_hosts[0].routes[0].route.HasField("retry_policy")
