"""A control plane whose tokens an API server judges: a small one, over HTTPS, by the official client."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import yaml
from aiohttp import web

from controlplane.base.clock import SystemClock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.authority import Authority
from controlplane.ca.signer import pem, self_signed
from controlplane.ca.token_review import ApiServer as ApiServerClient
from controlplane.lab.client import Proof
from controlplane.model.caller import Door
from tests.support.trust import SPIFFE, let_in, told, trusting

ID = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


def token(**claims: Any) -> str:
    now = int(time.time())
    known = {"iss": "https://kubernetes.default.svc", "iat": now, "exp": now + 600, "jti": "their-id"}
    return jwt.encode({**known, **claims}, "k" * 32, algorithm="HS256")


class ApiServer:
    """Knows some tokens; the port that it was given is in `port`."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path != PATH or request.headers.get("Authorization") != "Bearer control-plane":
            return web.json_response({"kind": "Status", "code": 403, "message": "no"}, status=403)
        spec = json.loads(await request.text())["spec"]
        self.asked.append(spec)
        pod = self.known.get(spec["token"])
        status: dict[str, Any] = {"error": "not good"}
        if pod is not None:
            extra = {"authentication.kubernetes.io/pod-name": [pod]}
            user = {"username": "system:serviceaccount:default:web", "uid": "1", "extra": extra}
            status = {"authenticated": True, "user": user, "audiences": spec["audiences"]}
        return web.json_response(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec, "status": status},
            status=201,
        )


@asynccontextmanager
async def api_server(directory: Path) -> AsyncIterator[tuple[ApiServer, Path]]:
    """A running one, and a kubeconfig for it."""
    signer = self_signed(time.time(), 3600.0)
    made = Authority(signer, (signer.root,), clock=SystemClock()).issue((), ips=("127.0.0.1",))
    (directory / "chain.pem").write_bytes(made.chain)
    (directory / "key.pem").write_bytes(made.key)
    (directory / "ca.pem").write_bytes(pem(signer.root))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    api = ApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    api.port = runner.addresses[0][1]
    cluster = {"server": f"https://127.0.0.1:{api.port}", "certificate-authority": str(directory / "ca.pem")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "c", "user": {"token": "control-plane"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    place = directory / "kubeconfig"
    place.write_text(yaml.safe_dump(config))
    try:
        yield api, place
    finally:
        await runner.cleanup()


def test_tokens_are_the_api_servers_to_judge(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            api_server(tmp_path) as (api, config),
            trusting(tmp_path, "--token-review", str(config)) as trust,
        ):
            good = token()
            api.known[good] = "web-1"
            stream = await let_in(trust, Door.TOKEN, Proof(trust.roots, good))
            assert stream.connection.proxy.identity.spiffe == SPIFFE
            assert stream.connection.caller.pod == "web-1"
            assert api.asked == [{"token": good, "audiences": ["istio-ca"]}]
            # It is believed for a while; another one is asked about.
            await let_in(trust, Door.TOKEN, Proof(trust.roots, good))
            assert len(api.asked) == 1
            code, reason = await told(trust, Door.TOKEN, Proof(trust.roots, token(jti="x")), id=ID)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert "API server" in reason
            # Bound to a pod: it speaks for no other.
            api.known[bound := token(jti="y")] = "web-2"
            code, _ = await told(trust, Door.TOKEN, Proof(trust.roots, bound), id=ID)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            # Tokens of our own go on as before, and are none of the API server's business.
            asked = len(api.asked)
            await let_in(trust, Door.TOKEN, trust.proof())
            assert len(api.asked) == asked

    asyncio.run(test())


@pytest.mark.parametrize("text", ["", "{", "kind: Config", "[]", "current-context: none\nusers: hunter2\n"])
def test_a_kubeconfig_that_cannot_be_used_is_said_at_once(tmp_path: Path, text: str) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(text)

    async def test() -> None:
        with pytest.raises(EnvironmentUnfit, match="--token-review") as caught:
            await ApiServerClient(str(config)).open()
        assert "hunter2" not in str(caught.value)

    asyncio.run(test())


def test_a_pods_account_is_missed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(EnvironmentUnfit, match="in-cluster cannot be used"):
        asyncio.run(ApiServerClient("in-cluster").open())


def test_without_the_api_server_nobody_is_let_in(tmp_path: Path) -> None:
    async def test() -> None:
        async with api_server(tmp_path) as (_, config):
            pass
        async with trusting(tmp_path, "--token-review", str(config)) as trust:
            code, reason = await told(trust, Door.TOKEN, Proof(trust.roots, token()), id=ID)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert "could not be asked" in reason
            assert trust.refusals("review") == 1

    asyncio.run(test())
