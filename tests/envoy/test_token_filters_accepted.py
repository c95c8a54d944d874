"""A real Envoy takes the filter that is made of any RequestAuthentication that is not refused.

Policies are drawn at random, with the oddest things that users write; all that are accepted here become
listeners of one configuration, which Envoy checks as a whole.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy import pb
from controlplane.envoy.filters import http_filters
from controlplane.envoy.filters.chain import Chain
from controlplane.graph import Graph
from controlplane.lab.tools import find_envoy
from controlplane.mesh.projections import Security
from controlplane.mesh.request_authentication import JwtRules, jwt_rules
from controlplane.model.jwks import NOBODYS_KEYS
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME
from tests.support.issuer import Issuer

pytestmark = pytest.mark.envoy

POLICIES = 300
NAMES = (*("x-token", "Authorization", "X_ODD.name~1") * 8, "a b", ":path", "é", "", "host", "a\nb")
TEXTS = (
    *("Bearer ", "JWT", "a.b") * 4,
    "",
    "Bearer ",
    "a",
    "a.b",
    "é",
    '"',
    "\\",
    "a b",
    "☃",
    "\t",
    "a\r\nb",
    "%REQ(x)%",
    "{{a}}",
)
URIS = (
    *("https://a.example/keys",) * 8,
    "https://a.example/keys",
    "http://[::1]:8080/",
    "ftp://a",
    "https://a b/",
    "https://a.example:0/",
)


def key_sets() -> list[str]:
    """Good ones, and members that are not."""
    members: list[dict[str, Any]] = [Issuer("a", "RS256").public, Issuer("a", "ES256").public]
    odd = [
        {},
        {"kty": "oct", "k": "c2VjcmV0"},
        {**members[0], "alg": "none"},
        {**members[0], "e": "Aw"},
        {**members[0], "e": "BQ"},
        {**members[0], "kid": "☃"},
        {**members[0], "kid": "\ud800"},
        {**members[0], "use": "enc"},
        {**members[1], "crv": "P-384"},
        {**members[1], "alg": "ES512"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
    ]
    return [json.dumps({"keys": list(keys)}) for keys in (members, odd, *zip(odd), ())]


def draw(chance: random.Random, sets: list[str]) -> dict[str, Any]:
    """The spec of a policy."""

    def some(values: tuple[str, ...]) -> list[str]:
        return chance.choices(values, k=chance.choice((0, 0, 1, 2)))

    def rule() -> dict[str, Any]:
        keys = chance.choice(
            ({"jwks": chance.choice(sets)}, {"jwks": sets[0]}, {"jwksUri": chance.choice(URIS)})
        )
        return {
            "issuer": chance.choice(("i", "https://a.example", *TEXTS)),
            **keys,
            "audiences": some(TEXTS),
            "fromHeaders": [{"name": name, "prefix": chance.choice(TEXTS)} for name in some(NAMES)],
            "fromParams": some(TEXTS),
            "fromCookies": some(TEXTS),
            "outputPayloadToHeader": chance.choice(("", "", *NAMES)),
            "outputClaimToHeaders": [{"header": name, "claim": chance.choice(TEXTS)} for name in some(NAMES)],
            "forwardOriginalToken": chance.random() < 0.5,
            "spaceDelimitedClaims": some(TEXTS),
            "presence": chance.choice(("OPTIONAL", "REQUIRED")),
        }

    return {"jwtRules": [rule() for _ in range(chance.choice((1, 1, 2, 3)))]}


def rules_of(spec: dict[str, Any]) -> JwtRules | None:
    """What a policy comes to; None where it is refused."""
    kind = BY_NAME["RequestAuthentication"]
    meta = {"name": "it", "namespace": "a"}
    parsed = kind.parse(
        {"apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": meta, "spec": spec}
    )
    if parsed.value is None:
        return None
    graph = Graph()
    graph.commit([(kind.table, parsed.key, parsed.value)])
    found: JwtRules = graph.read(jwt_rules, "a", Security(requests=(Key("a", "it"),)))
    return found


def listener(name: str, rules: JwtRules) -> dict[str, Any]:
    manager = pb.hcm.HttpConnectionManager(
        stat_prefix=name, http_filters=http_filters(Chain("inbound", jwt=rules))
    )
    host = manager.route_config.virtual_hosts.add(name="all", domains=["*"])
    route = host.routes.add()
    route.match.prefix = "/"
    route.direct_response.status = 200
    message = pb.listener.Listener(name=name)
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = 0
    message.filter_chains.add().filters.add(name="http").typed_config.CopyFrom(pb.pack(manager))
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


def test_every_policy_that_is_read_makes_a_filter_that_envoy_takes(tmp_path: Path) -> None:
    try:
        envoy = find_envoy(os.environ)
    except EnvironmentUnfit as missing:
        pytest.skip(str(missing))
    chance = random.Random(20)
    sets = key_sets()
    accepted: list[JwtRules] = []
    refused = 0
    while len(accepted) < POLICIES:
        rules = rules_of(draw(chance, sets))
        if rules is None:
            refused += 1
        else:
            accepted.append(rules)
    assert refused > POLICIES // 2
    assert {len(rules.providers) for rules in accepted} == {1, 2, 3}
    assert any(one.keys == NOBODYS_KEYS for rules in accepted for one in rules.providers)
    listeners = [listener(f"l{number}", rules) for number, rules in enumerate(accepted)]
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"listeners": listeners}}))
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", path, "-l", "warning"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
