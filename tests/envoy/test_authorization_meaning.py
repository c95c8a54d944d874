"""What a real Envoy does under drawn policies, against what the policies mean.

The evaluator (`tests.support.policy_meaning`) was written from Istio's reference and knows neither Envoy nor
the translator.  Requests come over mutual TLS as one of several identities, or in plaintext; with tokens,
from several addresses, to a port that a service names and to one that none does.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from controlplane.base.clock import SystemClock
from controlplane.ca.authority import Authority, Lifetimes
from controlplane.ca.keep import DirectoryKeeper
from controlplane.lab.fetch import Target, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, laboratory
from tests.support.policy_draws import CLAIMS, ISSUER, PRINCIPALS, Draws, World
from tests.support.policy_meaning import Asked, allowed

pytestmark = MARKS

HERE = Path(__file__).parent.parent / "support"
SERVER, CLIENT = "10.244.0.10", "10.244.0.11"
NETWORK = "172.20.0.0/16"
PORTS = (8080, 9090)
WORLD = World(SERVER, ("172.20.0.7", "172.20.9.9"), PORTS, undeclared=PORTS[1])
REQUESTS = 20
REFUSED = {False: 403, True: 0}
"""A status where HTTP is spoken, a closed connection where it is not."""
_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Stage:
    """A server behind its sidecar, a client that can be anybody, and the control plane between them."""

    lab: Lab
    plane: Plane
    server: Pod
    client: Pod
    certificates: dict[str, Path]
    tokens: dict[str, str]

    def put(self, number: int, policies: Sequence[dict[str, Any]]) -> None:
        """Put these policies in force, and return when the sidecar has them."""
        documents = [*policies, _mark(number)]
        target = self.plane.config / "policies.yaml"
        draft = self.plane.data / "policies.yaml"
        draft.write_text(yaml.safe_dump_all(documents))
        draft.replace(target)
        wanted = f"ns[foo]-policy[round-{number}]-rule[0]"
        # Once for the port that a service names and once for all others; and where HTTP is not spoken.
        assert wait_until(lambda: self.dump("dynamic_route_configs").count(wanted) == 2, 10), number
        assert wait_until(lambda: wanted in self.dump("dynamic_listeners"), 10), number

    def dump(self, resource: str) -> str:
        admin = Target(self.server.netns, "127.0.0.1", 15000)
        return fetch(admin, f"/config_dump?resource={resource}").body.decode()

    def ask(self, asked: Sequence[Asked]) -> list[int]:
        """The statuses that these requests get."""
        jobs = self.lab.directory / "jobs.jsonl"
        jobs.write_text("\n".join(json.dumps(self._job(one)) for one in asked))
        jobs.chmod(0o644)
        process = self.lab.run_in(self.client, App(HERE / "asking.py", (str(jobs),)))
        out, _ = process.communicate(timeout=60)
        return [int(line.split()[0]) for line in out.splitlines()]

    def _job(self, asked: Asked) -> dict[str, Any]:
        headers = [("host", asked.host), *asked.headers.items()]
        if asked.forwarded:
            headers.append(("x-forwarded-for", asked.forwarded))
        if asked.claims:
            headers.append(("authorization", f"Bearer {self.tokens[asked.claims['sub']]}"))
        certificate = str(self.certificates[asked.principal]) if asked.principal else ""
        where = {"address": asked.server, "port": asked.port, "source": asked.client, "sni": asked.sni}
        return {
            **where,
            "method": asked.method,
            "path": asked.path,
            "headers": headers,
            "certificate": certificate,
            "protocol": "istio" if asked.raw or asked.port == PORTS[0] else "istio-http/1.1",
        }


def _mark(number: int) -> dict[str, Any]:
    """A policy that denies somebody who never comes: its name shows which policies are in force."""
    rule = {"from": [{"source": {"ipBlocks": ["198.51.100.99"]}}]}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": f"round-{number}", "namespace": "foo"},
        "spec": {"action": "DENY", "rules": [rule]},
    }


@contextmanager
def stage(tmp_path: Path) -> Iterator[Stage]:
    with laboratory(tmp_path) as lab:
        options = ("--trust-loopback-identities", "true", "--debounce-after", "5ms")
        plane = start_plane(lab.site, options)
        (plane.config / "mesh.yaml").write_text(yaml.safe_dump_all(_objects()))
        plane.wait_ready()
        app = App(HERE / "answering.py", tuple(map(str, PORTS)))
        spec = PodSpec("server", "foo", SERVER, labels={"app": "server"}, app=app)
        server = lab.start(spec, Sidecar(plane.address))
        client = lab.start(PodSpec("client", "bar", CLIENT), None)
        lab.lead(client, (NETWORK,))
        lab.wait_ready()
        certificates = _certificates(lab, plane)
        yield Stage(lab, plane, server, client, certificates, _tokens())


def _objects() -> list[dict[str, Any]]:
    ports = [{"name": f"http-{port}", "port": port, "targetPort": port} for port in PORTS[:1]]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": "foo"},
        "spec": {"selector": {"app": "server"}, "ports": ports, "clusterIP": "10.96.0.10"},
    }
    key = json.loads(ECAlgorithm.to_jwk(_KEY.public_key()))
    rule = {"issuer": ISSUER, "jwks": json.dumps({"keys": [{**key, "kid": "drawn", "alg": "ES256"}]})}
    authentication = {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "tokens", "namespace": "foo"},
        "spec": {"jwtRules": [rule]},
    }
    return [service, authentication]


def _certificates(lab: Lab, plane: Plane) -> dict[str, Path]:
    """A certificate for each principal, by the authority of this control plane."""
    roots = DirectoryKeeper(plane.data).load()
    assert roots is not None
    authority = Authority(roots.signer, roots.trusted, clock=SystemClock(), lifetimes=Lifetimes())
    found = {}
    for number, principal in enumerate(PRINCIPALS):
        certified = authority.issue([f"spiffe://{principal}"])
        path = lab.directory / f"principal-{number}.pem"
        path.write_bytes(certified.key + certified.chain)
        path.chmod(0o644)
        found[principal] = path
    return found


def _tokens() -> dict[str, str]:
    until = int(time.time()) + 3600
    return {
        one["sub"]: jwt.encode({**one, "exp": until}, _KEY, algorithm="ES256", headers={"kid": "drawn"})
        for one in CLAIMS
    }


def test_a_real_envoy_does_what_drawn_policies_mean(tmp_path: Path) -> None:
    compare(tmp_path, seed=2026, rounds=20)


@pytest.mark.slow
def test_two_thousand_requests_fare_as_the_policies_mean(tmp_path: Path) -> None:
    compare(tmp_path, seed=4, rounds=100)


def compare(tmp_path: Path, *, seed: int, rounds: int) -> None:
    """Hold Envoy's answers against the evaluator's, `REQUESTS` under each of `rounds` sets of policies."""
    draws = Draws(Random(seed), WORLD)
    wrong: list[str] = []
    outcomes = Counter({200: 0, 403: 0, 0: 0})
    with stage(tmp_path) as scene:
        for number in range(rounds):
            policies = draws.policies()
            asked = [draws.asked() for _ in range(REQUESTS)]
            scene.put(number, policies)
            for one, status in zip(asked, scene.ask(asked), strict=True):
                expected = 200 if allowed(policies, one) else REFUSED[one.raw]
                outcomes[expected] += 1
                if status != expected:
                    said = yaml.safe_dump_all(policies)
                    wrong.append(f"round {number}: {status} in place of {expected}: {one}\n{said}")
        assert scene.server.rejected() == {}
    print(f"seed {seed}: {dict(outcomes)}")
    assert not wrong, f"{len(wrong)} of {sum(outcomes.values())} differ; the first:\n" + "\n".join(wrong[:3])
    # No answer is the exception: a server that always said the same would be found out.
    assert outcomes[200] > rounds * REQUESTS // 5 and outcomes[403] > rounds * REQUESTS // 5
    assert outcomes[0] > rounds
