"""The filter that checks tokens: what a request has to bring, by presence and number of issuers."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.filters import http_filters
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.filters.jwt_authn import NAME, build
from controlplane.mesh.remote_keys import MODE, RemoteKeys, key_fetching
from controlplane.mesh.request_authentication import JwtProvider, JwtRules
from controlplane.model.jwks import NOBODYS_KEYS
from tests.unit.mesh.world import World


def provider(issuer: str, *, required: bool = False) -> JwtProvider:
    return JwtProvider(issuer, NOBODYS_KEYS, required=required)


def config(*providers: JwtProvider, side: Any = "inbound") -> Any:
    found = build(Chain(side, jwt=JwtRules(providers)))
    assert found is not None
    return pb.jwt_authn.JwtAuthentication.FromString(found.typed_config.value)


def required(*providers: JwtProvider) -> dict[str, Any]:
    (rule,) = config(*providers).rules
    assert rule.match.prefix == "/"
    return json_format.MessageToDict(rule.requires, preserving_proto_field_name=True)


def either(name: str) -> dict[str, Any]:
    return {"requires_any": {"requirements": [{"provider_name": name}, {"allow_missing": {}}]}}


def test_nothing_without_rules() -> None:
    assert build(Chain("inbound")) is None
    assert NAME not in [one.name for one in http_filters(Chain("inbound", guarded=True))]


def test_tokens_are_checked_before_requests_are_authorized() -> None:
    chain = Chain("inbound", guarded=True, jwt=JwtRules((provider("a"),)))
    names = [one.name for one in http_filters(chain)]
    authorizing = [index for index, name in enumerate(names) if ".rbac" in name]
    assert authorizing
    assert names.index(NAME) < min(authorizing)


def test_one_issuer() -> None:
    assert required(provider("a")) == either("origins-0")
    assert required(provider("a", required=True)) == {"provider_name": "origins-0"}


def test_several_issuers() -> None:
    assert required(provider("a"), provider("b")) == {
        "requires_any": {
            "requirements": [
                {"provider_name": "origins-0"},
                {"provider_name": "origins-1"},
                {"requires_all": {"requirements": [either("origins-0"), either("origins-1")]}},
            ]
        }
    }
    assert required(provider("a"), provider("b", required=True)) == {"provider_name": "origins-1"}
    assert required(provider("a", required=True), provider("b", required=True)) == {
        "requires_all": {"requirements": [{"provider_name": "origins-0"}, {"provider_name": "origins-1"}]}
    }


def test_keys_that_the_proxy_fetches_itself() -> None:
    remote = RemoteKeys("http://idp.auth:8080/keys", 2_500_000_000, "idp.auth", 8080, tls=False, service=True)
    mesh = JwtProvider("a", "", remote=remote)
    other = JwtProvider("b", "", remote=remote._replace(service=False))
    found = config(mesh, other).providers
    assert not found["origins-0"].HasField("local_jwks")
    uri = found["origins-0"].remote_jwks.http_uri
    assert (uri.uri, uri.cluster) == ("http://idp.auth:8080/keys", "outbound|8080||idp.auth")
    assert (uri.timeout.seconds, uri.timeout.nanos) == (2, 500_000_000)
    assert found["origins-1"].remote_jwks.http_uri.cluster == "jwks|8080||idp.auth"


CLUSTERS = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: p, namespace: default}
spec:
  jwtRules:
  - {issuer: a, jwksUri: "https://a.example/keys"}
  - {issuer: b, jwksUri: "https://a.example/more"}
  - {issuer: c, jwksUri: "http://10.0.0.9:81/keys"}
"""


def test_clusters_for_keys() -> None:
    world = World(CLUSTERS)
    world.graph.commit([(key_fetching, MODE, "envoy")])
    view = world.view("sidecar~10.0.0.1~a.default~default.svc.cluster.local", {"NAMESPACE": "default"})
    found = {name: one for name, one in world.clusters(view).items() if name.startswith("jwks|")}
    assert sorted(found) == ["jwks|443||a.example", "jwks|81||10.0.0.9"]
    secure = found["jwks|443||a.example"]
    tls = pb.tls.UpstreamTlsContext.FromString(secure.transport_socket.typed_config.value)
    assert tls.sni == "a.example"
    (name,) = tls.common_tls_context.validation_context.match_typed_subject_alt_names
    assert name.matcher.exact == "a.example"
    assert not secure.wait_for_warm_on_init.value
    plain = found["jwks|81||10.0.0.9"]
    assert plain.type == pb.cluster.Cluster.STATIC
    assert not plain.HasField("transport_socket")


def test_routes_are_chosen_again_where_they_may_ask_for_claims() -> None:
    assert config(provider("a"), side="gateway").providers["origins-0"].clear_route_cache
    assert not config(provider("a")).providers["origins-0"].clear_route_cache


def test_the_bytes_do_not_depend_on_the_order_of_a_map() -> None:
    many = JwtRules(tuple(provider(str(number)) for number in range(12)))
    first, second = build(Chain("inbound", jwt=many)), build(Chain("inbound", jwt=many))
    assert first is not None and second is not None
    assert first.typed_config.value == second.typed_config.value
