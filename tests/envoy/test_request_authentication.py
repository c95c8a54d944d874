"""Real Envoys check tokens: on a sidecar, and on a gateway as in the seeds' exercise."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from controlplane.lab import traffic as lab_traffic
from controlplane.lab.fetch import Answer, Target, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.issuer import Issuer, KeyServer

pytestmark = MARKS

TRAFFIC = Path(lab_traffic.__file__)
ECHO = Path(__file__).parents[1] / "support" / "echo.py"
WEB, GATEWAY = "10.244.0.10", "10.244.0.11"

MESH = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: foo, labels: {{app: web}}}}
spec: {{serviceAccountName: web, containers: [{{name: web}}]}}
status: {{podIP: {WEB}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: foo}}
spec: {{clusterIP: 10.96.0.10, selector: {{app: web}}, ports: [{{name: http, port: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-a, namespace: foo, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints:
- {{addresses: [{WEB}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: web, namespace: foo}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: gw, namespace: istio-system, labels: {{istio: ingressgateway}}}}
spec: {{serviceAccountName: ingress, containers: [{{name: proxy}}]}}
status: {{podIP: {GATEWAY}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: istio-ingressgateway, namespace: istio-system}}
spec:
  clusterIP: 10.96.0.20
  selector: {{istio: ingressgateway}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: foo}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: foo}}
spec:
  hosts: ["*"]
  gateways: [front]
  http: [{{route: [{{destination: {{host: web, port: {{number: 8080}}}}}}]}}]
"""


def policy(*rules: Mapping[str, Any], where: str = "foo", selector: str = "app: web") -> str:
    spec = {"jwtRules": list(rules)}
    return (
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n"
        f"metadata: {{name: it, namespace: {where}}}\n"
        f"spec: {{selector: {{matchLabels: {{{selector}}}}}, {json.dumps(spec)[1:-1]}}}\n"
    )


def rule(issuer: Issuer, **more: Any) -> dict[str, Any]:
    keys = {} if "jwksUri" in more else {"jwks": issuer.jwks}
    return {"issuer": issuer.name, **keys, **more}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Scene:
    """A sidecar, a gateway before it, a client without either, and the folder that says what holds."""

    def __init__(self, lab: Lab, *flags: str) -> None:
        self.lab = lab
        self.plane: Plane = start_plane(
            lab.site,
            ("--trust-loopback-identities", "true", "--jwt-pub-key-refresh-interval", "300ms", *flags),
        )
        self.write("mesh", MESH)
        self.plane.wait_ready()
        sidecar = Sidecar(self.plane.address, stats=("listener", "cluster_manager", "http."))
        app = App(ECHO, ("8080",), port=8080)
        web = PodSpec("web", "foo", WEB, {"app": "web"}, "web", app=app)
        gateway = PodSpec(
            "gw", "istio-system", GATEWAY, {"istio": "ingressgateway"}, "ingress", kind="router"
        )
        self.web: Pod = lab.start(web, sidecar)
        self.gateway: Pod = lab.start(gateway, sidecar)
        self.client: Pod = lab.start(PodSpec("client", "outside", "10.244.0.12"), None)
        lab.wait_ready()
        self.address = WEB

    def write(self, name: str, text: str) -> None:
        """Put a file of objects into the watched folder, or replace it at once."""
        new = self.lab.directory / f"{name}.new"
        new.write_text(text)
        new.rename(self.plane.config / f"{name}.yaml")

    def get(self, headers: Mapping[str, str] = {}, path: str = "/", method: str = "GET") -> Answer:
        target = Target(self.client.netns, self.address, 8080)
        return fetch(target, path, method=method, headers={"Host": "web.example.com", **headers})

    def status(self, headers: Mapping[str, str] = {}, path: str = "/") -> int | None:
        try:
            return self.get(headers, path).status
        except ConnectionError:
            return None

    def becomes(self, status: int, headers: Mapping[str, str] = {}, path: str = "/") -> bool:
        """Whether a request is answered so, soon."""
        return wait_until(lambda: self.status(headers, path) == status, 40)

    def heard(self, headers: Mapping[str, str] = {}, path: str = "/") -> dict[str, str]:
        """The headers that reached the application."""
        answer = self.get(headers, path)
        assert answer.status == 200
        found: dict[str, str] = answer.json()["headers"]
        return found

    def problems(self) -> list[str]:
        return [
            f"{one['level']} {one['field']}: {one['message']}"
            for one in self.plane.get("/debug/problems")
            if one["kind"] == "RequestAuthentication"
        ]


world = scenes(Scene)


@pytest.fixture
def scene(world: Scene) -> Iterator[Scene]:
    """Each test has the folder to itself, and no Envoy may have refused anything."""
    assert world.becomes(200)
    yield world
    assert world.web.admin.rejected() == {}
    assert world.gateway.admin.rejected() == {}
    for file in world.plane.config.glob("*.yaml"):
        if file.name != "mesh.yaml":
            file.unlink()
    for world.address in (GATEWAY, WEB):
        assert world.becomes(200, bearer("nonsense"))


@pytest.fixture(scope="module")
def rsa() -> Issuer:
    return Issuer("testing@secure.istio.io", "RS256")


@pytest.fixture(scope="module")
def elliptic() -> Issuer:
    return Issuer("https://accounts.example", "ES256")


PLACES = {"sidecar": (WEB, "foo", "app: web"), "gateway": (GATEWAY, "istio-system", "istio: ingressgateway")}

REQUIRE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: require, namespace: {where}}}
spec:
  selector: {{matchLabels: {{{selector}}}}}
  action: DENY
  rules: [{{from: [{{source: {{notRequestPrincipals: ["*"]}}}}]}}]
"""


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("place", PLACES)
def test_the_exercise_of_the_seeds(scene: Scene, place: str, algorithm: str) -> None:
    scene.address, where, selector = PLACES[place]
    issuer = Issuer("testing@secure.istio.io", algorithm)
    scene.write("policy", policy(rule(issuer), where=where, selector=selector))
    # A bad token is refused, a good one is not, and none is asked for.
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.status() == 200
    assert scene.status(bearer(issuer.token())) == 200
    assert scene.status(bearer(issuer.token(lifetime=-120))) == 401
    assert scene.status(bearer(Issuer(issuer.name, algorithm).token())) == 401
    assert scene.status(bearer(Issuer("another", algorithm).token())) == 401
    scene.write("require", REQUIRE.format(where=where, selector=selector))
    assert scene.becomes(403)
    assert scene.status(bearer(issuer.token())) == 200
    assert scene.status(bearer("deadbeef")) == 401


def test_audiences(scene: Scene, rsa: Issuer) -> None:
    scene.write("policy", policy(rule(rsa, audiences=["web", "web.foo"])))
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.status(bearer(rsa.token(aud="web.foo"))) == 200
    assert scene.status(bearer(rsa.token(aud=["other", "web"]))) == 200
    assert scene.status(bearer(rsa.token(aud="other"))) == 403
    assert scene.status(bearer(rsa.token())) == 403
    assert scene.status() == 200


def test_several_issuers(scene: Scene, rsa: Issuer, elliptic: Issuer) -> None:
    scene.write("policy", policy(rule(rsa), rule(elliptic)))
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.status() == 200
    assert scene.status(bearer(rsa.token())) == 200
    assert scene.status(bearer(elliptic.token())) == 200
    # The right name and the other one's key.
    assert scene.status(bearer(rsa.token(iss=elliptic.name))) == 401
    assert scene.status(bearer(elliptic.token(iss="third"))) == 401


def test_a_token_from_a_header_a_parameter_and_a_cookie(scene: Scene, rsa: Issuer) -> None:
    places = {
        "fromHeaders": [{"name": "x-token"}, {"name": "x-other", "prefix": "JWT "}],
        "fromParams": ["t"],
        "fromCookies": ["session"],
    }
    scene.write("policy", policy(rule(rsa, presence="REQUIRED", **places)))
    assert scene.becomes(401)
    good, bad = rsa.token(), rsa.token(lifetime=-120)
    for token, status in ((good, 200), (bad, 401)):
        assert scene.status({"x-token": token}) == status
        assert scene.status({"x-other": f"JWT {token}"}) == status
        assert scene.status(path=f"/?t={token}") == status
        assert scene.status({"Cookie": f"a=b; session={token}"}) == status
    # Not where Envoy looks by itself, once other places are named.
    assert scene.status(bearer(good)) == 401


def test_the_usual_parameter(scene: Scene, rsa: Issuer) -> None:
    scene.write("policy", policy(rule(rsa)))
    assert scene.becomes(401, path="/?access_token=deadbeef")
    assert scene.status(path=f"/?access_token={rsa.token()}") == 200


def test_what_the_application_is_told(scene: Scene, rsa: Issuer) -> None:
    outputs = {
        "outputPayloadToHeader": "x-payload",
        "outputClaimToHeaders": [
            {"header": "x-user", "claim": "sub"},
            {"header": "x-team", "claim": "of.team"},
        ],
    }
    scene.write("policy", policy(rule(rsa, **outputs)))
    assert scene.becomes(401, bearer("deadbeef"))
    token = rsa.token(of={"team": "red"})
    heard = scene.heard({**bearer(token), "x-user": "mallory"})
    assert heard["x-user"] == "alice"
    assert heard["x-team"] == "red"
    assert "authorization" not in heard
    payload = heard["x-payload"]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"] == "alice"
    # Nobody speaks for a token that is not there.
    unsigned = scene.heard({"x-user": "mallory", "x-team": "red", "x-payload": "e30"})
    assert not {"x-user", "x-team", "x-payload"} & unsigned.keys()
    scene.write("policy", policy(rule(rsa, forwardOriginalToken=True)))
    assert wait_until(lambda: scene.heard(bearer(token)).get("authorization") == f"Bearer {token}", 40)


def test_a_preflight_needs_no_token(scene: Scene, rsa: Issuer) -> None:
    scene.write("policy", policy(rule(rsa, presence="REQUIRED")))
    assert scene.becomes(401)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    assert scene.get(preflight, method="OPTIONS").status == 200
    assert scene.get(method="OPTIONS").status == 401


def test_presence(scene: Scene, rsa: Issuer, elliptic: Issuer) -> None:
    scene.write("policy", policy(rule(rsa, presence="REQUIRED"), rule(elliptic)))
    assert scene.becomes(401)
    assert scene.status(bearer(rsa.token())) == 200
    assert scene.status(bearer(elliptic.token())) == 401


def test_two_tokens_that_must_be_there(scene: Scene, rsa: Issuer, elliptic: Issuer) -> None:
    rules = [
        rule(issuer, presence="REQUIRED", fromHeaders=[{"name": name}])
        for issuer, name in ((rsa, "x-one"), (elliptic, "x-two"))
    ]
    scene.write("policy", policy(*rules))
    assert scene.becomes(401)
    one, two = {"x-one": rsa.token()}, {"x-two": elliptic.token()}
    assert scene.becomes(200, {**one, **two})
    assert scene.status(one) == 401
    assert scene.status(two) == 401
    assert scene.status({**one, "x-two": rsa.token()}) == 401
    assert scene.status({**one, **two, "x-two": "deadbeef"}) == 401


def test_tokens_of_two_issuers_in_two_places(scene: Scene, rsa: Issuer, elliptic: Issuer) -> None:
    scene.write("policy", policy(rule(rsa, fromHeaders=[{"name": "x-one"}]), rule(elliptic)))
    assert scene.becomes(401, {"x-one": "deadbeef"})
    good = {"x-one": rsa.token()}
    assert scene.status(good) == 200
    assert scene.status(bearer(elliptic.token())) == 200
    assert scene.status({**good, **bearer(elliptic.token())}) == 200
    # One that accepts is enough, as in Istio: the other place is not looked at any more.
    assert scene.status({**good, **bearer("deadbeef")}) == 200
    assert scene.status({"x-one": "deadbeef", **bearer("deadbeef")}) == 401


def test_keys_by_uri(scene: Scene) -> None:
    before, after = Issuer("https://idp.example", kid="1"), Issuer("https://idp.example", kid="2")
    inline = Issuer("inline", "RS256")
    with KeyServer() as server:
        scene.write("policy", policy(rule(before, jwksUri=server.uri("/keys")), rule(inline)))
        # Never fetched: this issuer's tokens are refused, others are not, and none is asked for.
        assert scene.becomes(401, bearer(before.token()))
        assert scene.status() == 200
        assert scene.status(bearer(inline.token())) == 200
        assert wait_until(lambda: len(scene.problems()) == 1, 40)
        (told,) = scene.problems()
        assert "answers 404; tokens of issuer 'https://idp.example' are refused" in told
        server.answers["/keys"] = (200, before.jwks)
        assert scene.becomes(200, bearer(before.token()))
        assert wait_until(lambda: scene.problems() == [], 40)
        assert scene.status(bearer(after.token())) == 401
        # Rotation: both, then the new one alone.
        server.answers["/keys"] = (200, json.dumps({"keys": [before.public, after.public]}))
        assert scene.becomes(200, bearer(after.token()))
        assert scene.status(bearer(before.token())) == 200
        server.answers["/keys"] = (200, after.jwks)
        assert scene.becomes(401, bearer(before.token()))
        # The provider fails, and then is gone: what was fetched last holds.
        asked = len(server.asked)
        server.answers["/keys"] = (500, "a secret of the provider")
        assert wait_until(lambda: len(server.asked) >= asked + 2, 40)
        assert scene.status(bearer(after.token())) == 200
    assert wait_until(lambda: any("cannot be connected to" in one for one in scene.problems()), 40)
    (told,) = scene.problems()
    assert "the one that was fetched last stays in use" in told
    assert scene.status(bearer(after.token())) == 200
    assert scene.status(bearer(before.token())) == 401


def test_keys_by_discovery(scene: Scene) -> None:
    with KeyServer() as server:
        issuer = Issuer(server.uri("/realm"))
        metadata = {"issuer": issuer.name, "jwks_uri": server.uri("/certs")}
        server.answers["/realm/.well-known/openid-configuration"] = (200, json.dumps(metadata))
        server.answers["/certs"] = (200, issuer.jwks)
        scene.write("policy", policy({"issuer": issuer.name}))
        assert scene.becomes(401, bearer("deadbeef"))
        assert scene.becomes(200, bearer(issuer.token()))


BY_CLAIMS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: by-claims, namespace: foo}
spec:
  hosts: [claims.example.com]
  gateways: [front]
  http:
  - match: [{headers: {"@request.auth.claims.group": {exact: admin}}}]
    directResponse: {status: 211}
  - match: [{headers: {"@request.auth.claims[realm][roles]": {prefix: shop-}}}]
    directResponse: {status: 212}
  - match: [{headers: {"@request.auth.claims.scope": {exact: write}}}]
    directResponse: {status: 213}
  - match: [{withoutHeaders: {"@request.auth.claims.sub": {}}}]
    directResponse: {status: 214}
  - match: [{withoutHeaders: {"@request.auth.claims.guest": {exact: "yes"}}}]
    directResponse: {status: 215}
  - directResponse: {status: 216}
"""


def test_routing_by_claims(scene: Scene, rsa: Issuer) -> None:
    scene.address, where, selector = PLACES["gateway"]
    scene.write("policy", policy(rule(rsa), where=where, selector=selector))
    scene.write("routes", BY_CLAIMS)

    def status(**claims: Any) -> int:
        return scene.get({**bearer(rsa.token(**claims)), "Host": "claims.example.com"}).status

    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.becomes(214, {"Host": "claims.example.com"})
    assert status(group="admin") == 211
    assert status(group=["staff", "admin"]) == 211
    assert status(group="administrator") == 215
    assert status(realm={"roles": ["x", "shop-clerk"]}) == 212
    assert status(realm={"roles": "shop-owner"}) == 212
    assert status(realm={"roles": "workshop-"}) == 215
    assert status(scope="read write") == 213
    assert status(scope="read writer") == 215
    assert status(guest="yes") == 216
    assert status(group=["staff", 1], guest=True) == 215
    # A header of such a name is only a header.
    forged = {"@request.auth.claims.group": "admin", "Host": "claims.example.com"}
    assert scene.status(forged) in (214, 400)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(issuer: Issuer) -> dict[str, str]:
    """Tokens that somebody without the issuer's key makes of what everybody knows."""
    good = issuer.token()
    head, payload, signature = good.split(".")
    claims = {"iss": issuer.name, "sub": "root", "exp": 4_000_000_000}
    mine = Issuer(issuer.name, issuer.algorithm)
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = hmac.new(public, f"{encoded({'alg': 'HS256', 'kid': '1'})}.{encoded(claims)}".encode(), "sha256")
    mac = base64.urlsafe_b64encode(secret.digest()).rstrip(b"=").decode()
    own = {"alg": issuer.algorithm, "kid": "1", "jwk": mine.public}
    pointed = {"jku": "http://127.0.0.1/keys", "x5u": "http://127.0.0.1/keys", "kid": "1"}
    return {
        "none": f"{encoded({'alg': 'none'})}.{encoded(claims)}.",
        "none with a signature": f"{encoded({'alg': 'none'})}.{encoded(claims)}.{signature}",
        "None": f"{encoded({'alg': 'None', 'kid': '1'})}.{encoded(claims)}.",
        "no signature": f"{head}.{payload}.",
        "two parts": f"{head}.{payload}",
        "another payload": f"{head}.{encoded(claims)}.{signature}",
        "another head": f"{encoded({'alg': issuer.algorithm, 'kid': '2'})}.{payload}.{signature}",
        "public key as a secret": f"{encoded({'alg': 'HS256', 'kid': '1'})}.{encoded(claims)}.{mac}",
        "own key": mine.token(),
        "own key brought along": jwt.encode(claims, mine.key, issuer.algorithm, headers=own),
        "own key to be fetched": jwt.encode(claims, mine.key, issuer.algorithm, headers=pointed),
        "not yet": issuer.token(nbf=4_000_000_000),
        "expired": issuer.token(lifetime=-120),
        "a list for an issuer": jwt.api_jws.encode(
            json.dumps({**claims, "iss": [issuer.name]}).encode(), issuer.key, issuer.algorithm, {"kid": "1"}
        ),
        "another issuer": issuer.token(iss=issuer.name + "/"),
        "no issuer": jwt.encode({"sub": "alice"}, issuer.key, issuer.algorithm, headers={"kid": "1"}),
        "zeros for a signature": f"{head}.{payload}.{encoded('')}",
        "long": f"{head}.{encoded({**claims, 'a': 'a' * 20_000})}.{signature}",
        "nested": f"{head}.{base64.urlsafe_b64encode(b'[' * 5000).decode()}.{signature}",
        "no json": f"{head}.{base64.urlsafe_b64encode(b'text').decode()}.{signature}",
        "nonsense": "a.b.c",
        "empty parts": "..",
        "empty": "",
    }


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_forged_tokens(scene: Scene, algorithm: str) -> None:
    issuer = Issuer("https://idp.example", algorithm)
    scene.write("policy", policy(rule(issuer)) + "---\n" + REQUIRE.format(where="foo", selector="app: web"))
    assert scene.becomes(403)
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.status(bearer(issuer.token())) == 200
    found = {name: scene.status(bearer(token)) for name, token in forged(issuer).items()}
    # Not one is let in; an empty one is none at all.
    assert found == {**dict.fromkeys(found, 401), "empty": 403}


def test_a_good_token_in_the_wrong_place_is_none(scene: Scene, rsa: Issuer) -> None:
    text = policy(rule(rsa, fromHeaders=[{"name": "x-token"}]))
    scene.write("policy", text + "---\n" + REQUIRE.format(where="foo", selector="app: web"))
    assert scene.becomes(403)
    assert scene.becomes(200, {"x-token": rsa.token()})
    assert scene.status(bearer(rsa.token())) == 403
    assert scene.status(path=f"/?access_token={rsa.token()}") == 403
    # What a proxy notes of a token cannot be said by a client.
    said = {"x-jwt-payload": "e30", "sec-istio-auth-userinfo": "e30", "request.auth.principal": "a/b"}
    assert scene.status(said) == 403


def test_one_bad_token_spoils_a_good_one(scene: Scene, rsa: Issuer) -> None:
    scene.write("policy", policy(rule(rsa)))
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.status(bearer(rsa.token()), f"/?access_token={rsa.token()}") == 200
    assert scene.status(bearer(rsa.token()), "/?access_token=deadbeef") == 401
    assert scene.status(bearer("deadbeef"), f"/?access_token={rsa.token()}") == 401


def test_new_keys_break_no_request(scene: Scene) -> None:
    """Under 200 requests per second on kept-alive connections the provider adds a key, five times."""
    issuer = Issuer("https://idp.example")
    keys = [issuer.public]
    with KeyServer() as server:
        server.answers["/keys"] = (200, json.dumps({"keys": keys}))
        scene.write("policy", policy(rule(issuer, jwksUri=server.uri("/keys"))))
        assert scene.becomes(401, bearer("deadbeef"))
        assert scene.becomes(200, bearer(issuer.token()))
        order = {
            "host": WEB,
            "port": 8080,
            "path": "/",
            "authority": "web.example.com",
            "headers": bearer(issuer.token()),
            "requests": 800,
            "workers": 4,
            "pause": 0.02,
            "timeout": 5,
        }
        visitor = scene.lab.run_in(scene.client, App(TRAFFIC, (json.dumps(order),)))
        for kid in range(2, 7):
            added = Issuer(issuer.name, kid=str(kid))
            keys.append(added.public)
            server.answers["/keys"] = (200, json.dumps({"keys": keys}))
            assert scene.becomes(200, bearer(added.token()))
        assert visitor.stdout is not None
        answers = [json.loads(line) for line in visitor.stdout]
        assert visitor.wait(10) == 0
    assert len(answers) == 800
    assert {(one["status"], one["error"]) for one in answers} == {(200, None)}
