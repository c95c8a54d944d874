"""A real Envoy at the door for client certificates: who it is, and that nothing else counts."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import tools
from controlplane.model.caller import Door
from tests.support.trust import SPIFFE, Trusting, run
from tests.support.waiting import until


def _envoy() -> str:
    try:
        return str(tools.find_envoy(os.environ))
    except EnvironmentUnfit:
        return ""


pytestmark = [pytest.mark.envoy, pytest.mark.skipif(not _envoy(), reason="needs Envoy")]

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


def bootstrap(directory: Path, address: str, node: str, account: str) -> dict[str, Any]:
    """An Envoy that asks for clusters and nothing else; its certificate is in files that it watches."""
    host, port = address.split(":")
    where = {"socket_address": {"address": host, "port_value": int(port)}}
    source = {"path": str(directory / "own.json"), "watched_directory": {"path": str(directory)}}
    tls = {
        "alpn_protocols": ["h2"],
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [
            {"name": "own", "sds_config": {"resource_api_version": "V3", "path_config_source": source}}
        ],
        "validation_context": {"trusted_ca": {"filename": str(directory / "root-cert.pem")}},
    }
    http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    cluster = {
        "name": "xds-grpc",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": _TLS + "UpstreamTlsContext",
                "sni": "istiod.istio-system.svc",
                "common_tls_context": tls,
            },
        },
        "typed_extension_protocol_options": {options: {"@type": f"type.googleapis.com/{options}", **http2}},
    }
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
    }
    return {
        "node": {"id": node, "cluster": "web", "metadata": {"SERVICE_ACCOUNT": account}},
        "static_resources": {"clusters": [cluster]},
        "dynamic_resources": {
            "ads_config": ads,
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
        },
    }


def show(trust: Trusting, directory: Path, uri: str) -> None:
    """Put a certificate of this identity into the files."""
    proof = trust.certified(uri)
    for name, data in (
        ("chain.pem", proof.certificate),
        ("key.pem", proof.key),
        ("root-cert.pem", trust.roots),
    ):
        (directory / f".{name}").write_bytes(data)
        (directory / f".{name}").replace(directory / name)
    secret = {
        "@type": _TLS + "Secret",
        "name": "own",
        "tls_certificate": {
            "certificate_chain": {"filename": str(directory / "chain.pem")},
            "private_key": {"filename": str(directory / "key.pem")},
            "watched_directory": {"path": str(directory)},
        },
    }
    (directory / "own.json").write_text(json.dumps({"resources": [secret]}))


@asynccontextmanager
async def envoy(directory: Path, config: dict[str, Any]) -> AsyncIterator[None]:
    (directory / "envoy.json").write_text(json.dumps(config))
    flags = ("--log-level", "warn", "--concurrency", "1", "--use-dynamic-base-id")
    with (directory / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            _envoy(), "-c", str(directory / "envoy.json"), *flags, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


NODE = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"


def test_an_envoy_with_a_certificate_is_who_it_names(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()

    async def test(trust: Trusting) -> None:
        app = trust.served.app
        show(trust, files, SPIFFE)
        config = bootstrap(files, trust.address(Door.CERTIFICATE), NODE, "web")
        async with envoy(files, config):
            await until(lambda: app.xds.streams, "it is let in")
            (stream,) = app.xds.streams
            assert stream.connection.proxy.identity is not None
            assert stream.connection.proxy.identity.spiffe == SPIFFE
            # What its account was given counts no longer: it is thrown out and not let in again.
            trust.store.revoke_account("default/web", 2e9)
            await until(lambda: trust.refusals("ended") == 1, "its stream has ended")
            await until(lambda: trust.refusals("revoked") >= 1, "it is refused when it comes back")
            assert app.xds.streams == ()

    run(tmp_path, test)


def test_an_envoy_whose_node_claims_another_account_is_refused_again_and_again(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()

    async def test(trust: Trusting) -> None:
        show(trust, files, SPIFFE)
        config = bootstrap(files, trust.address(Door.CERTIFICATE), NODE, "admin")
        async with envoy(files, config):
            await until(lambda: trust.refusals("service_account") >= 2, "it is refused twice")
            assert trust.served.app.xds.streams == ()

    run(tmp_path, test)
