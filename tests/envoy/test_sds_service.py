"""Secret discovery as a service of its own, at a stock Envoy whose listeners and clusters are in a file."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import tools
from controlplane.lab.client import Protocol
from controlplane.lab.fetch import Target, answers, fetch
from controlplane.lab.waiting import wait_until
from tests.support.plane import Served, serving
from tests.support.waiting import until


def _no_envoy() -> str:
    try:
        tools.find_envoy(os.environ)
    except EnvironmentUnfit as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.envoy, pytest.mark.skipif(bool(_no_envoy()), reason=_no_envoy())]

_TYPE = "type.googleapis.com/envoy.extensions."
_TLS = _TYPE + "transport_sockets.tls.v3."
SPIFFE = "spiffe://cluster.local/ns/prod/sa/legacy"


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


def _address(port: int) -> Any:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, address: Any, **more: Any) -> Any:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        **more,
    }


def _listener(name: str, port: int, action: Any, **more: Any) -> Any:
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}
    router = {"name": "router", "typed_config": {"@type": f"{_TYPE}filters.http.router.v3.Router"}}
    manager = {
        "@type": f"{_TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": [host]},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}], **more}
    return {"name": name, "address": _address(port), "filter_chains": [chain]}


def _tls(kind: str, protocol: Protocol, **more: Any) -> Any:
    """A transport socket with both secrets from the service."""
    service = {
        "api_type": protocol,
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    }
    source = {
        "api_config_source": service,
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
    }
    names = [{"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": SPIFFE}}]}]
    common = {
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": source}],
        "combined_validation_context": {
            "default_validation_context": names[0],
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": source},
        },
    }
    config = {"@type": f"{_TLS}{kind}TlsContext", "common_tls_context": common, **more}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config}}


def bootstrap(sds: Path, protocol: Protocol, ports: list[int]) -> Any:
    """An Envoy that calls itself: plaintext in, mutual TLS to its other listener."""
    admin, plain, mutual = ports
    options = {
        "@type": f"{_TYPE}upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    named = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    metadata = {"NAMESPACE": "prod", "SERVICE_ACCOUNT": "legacy"}
    return {
        "node": {
            "id": "sidecar~10.0.0.1~legacy-1.prod~prod.svc.cluster.local",
            "cluster": "legacy",
            "metadata": metadata,
        },
        "admin": {"address": _address(admin)},
        "static_resources": {
            "clusters": [
                _cluster("sds-grpc", {"pipe": {"path": str(sds)}}, typed_extension_protocol_options=named),
                _cluster("mutual", _address(mutual), **_tls("Upstream", protocol)),
            ],
            "listeners": [
                _listener("plain", plain, {"route": {"cluster": "mutual"}}),
                _listener(
                    "mutual",
                    mutual,
                    {"direct_response": {"status": 200, "body": {"inline_string": "believed"}}},
                    **_tls("Downstream", protocol, require_client_certificate=True),
                ),
            ],
        },
    }


@contextmanager
def envoy(folder: Path, config: Any) -> Iterator[None]:
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    with (folder / "envoy.log").open("w") as log:
        command = [str(tools.find_envoy(os.environ)), "-c", str(file), "--concurrency", "1"]
        process = subprocess.Popen(
            [*command, "--use-dynamic-base-id", "-l", "warning"], stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_certificates_alone(tmp_path: Path, protocol: Protocol) -> None:
    ports = _free_ports(3)
    admin, plain = (Target(None, "127.0.0.1", port) for port in ports[:2])

    def serials() -> set[str]:
        found = fetch(admin, "/certs").json()["certificates"]
        return {chain["serial_number"] for one in found for chain in one.get("cert_chain", [])}

    async def scene(served: Served) -> None:
        supply = served.app.trust.certificates
        assert supply is not None
        ready = await asyncio.to_thread(wait_until, lambda: answers(plain, "/"), 15.0)
        assert ready, (tmp_path / "envoy.log").read_text()
        answer = await asyncio.to_thread(fetch, plain, "/")
        assert answer.body == b"believed"
        (before,) = await asyncio.to_thread(serials)
        # A stream for each secret, all of them the proxy's; one key.
        assert {stream.connection.proxy.id for stream in served.app.xds.streams} == {"legacy-1.prod"}
        assert len(served.app.xds.streams) > 1 and len(supply) == 1
        supply.reissue_all()
        changed = await asyncio.to_thread(wait_until, lambda: before not in serials(), 15.0)
        assert changed and len(await asyncio.to_thread(serials)) == 1
        assert (await asyncio.to_thread(fetch, plain, "/")).status == 200
        await until(lambda: not supply.waiting, "nothing is left to do")

    async def main() -> None:
        async with serving(tmp_path, "--trust-loopback-identities") as served:
            socket = tmp_path / "xds.sock"
            with envoy(tmp_path, bootstrap(socket, protocol, ports)):
                await scene(served)

    asyncio.run(main())
