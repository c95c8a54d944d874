"""A whole control plane in one process: it becomes ready, shows itself, and ends when asked."""

from __future__ import annotations

import argparse
import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from controlplane.app.compose import App, build
from controlplane.app.serve import live
from controlplane.base.parse import Address
from controlplane.envoy.bootstrap import Node
from controlplane.lab.client import Client, channel
from controlplane.settings import Settings, from_args
from tests.support.raw import raw, request, status

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
"""
DANGLING = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec: {hosts: [web], http: [{route: [{destination: {host: nowhere}}]}]}
"""


def settings(tmp_path: Path, **changes: Any) -> Settings:
    config = tmp_path / "config"
    config.mkdir(exist_ok=True)
    made = from_args(argparse.Namespace(config_dir=[str(config)]), {})
    return replace(
        made,
        grpc_addr=(Address("", 0, str(tmp_path / "xds.sock")),) if not changes.get("grpc_addr") else (),
        monitoring_addr=Address("127.0.0.1", 0),
        debounce_after=0.01,
        drain_duration=0.1,
        **changes,
    )


def drive(made: Settings, test: Callable[[App, str], Awaitable[None]]) -> None:
    async def main() -> None:
        app = build(made)
        stop = asyncio.Event()
        bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
        start = app.monitoring.start

        async def noted(host: str, port: int) -> tuple[str, int]:
            bound.set_result(await start(host, port))
            return bound.result()

        app.monitoring.start = noted  # type: ignore[method-assign]
        living = asyncio.create_task(live(app, stop))
        try:
            async with asyncio.timeout(20):
                host, port = await bound
                while app.unready():
                    await asyncio.sleep(0.005)
                await test(app, f"http://{host}:{port}")
        finally:
            stop.set()
            await living

    asyncio.run(main())


async def get(url: str) -> Any:
    def read() -> bytes:
        with urllib.request.urlopen(url) as answer:
            return answer.read()

    return json.loads(await asyncio.to_thread(read))


def test_from_a_file_to_the_trace(tmp_path: Path) -> None:
    async def test(app: App, url: str) -> None:
        client = Client(Node("10.0.0.9", "a-1", "default"))
        wire = channel(f"unix:{tmp_path / 'xds.sock'}")
        stream = asyncio.create_task(client.run(wire))
        try:
            while not any("virtualOutbound" in names for names in client.state.values()):
                await asyncio.sleep(0.005)
            (tmp_path / "config" / "web.yaml").write_text(SERVICE)
            wanted = "outbound|80||web.default.svc.cluster.local"
            while not any(wanted in names for names in client.state.values()):
                await asyncio.sleep(0.005)
            traced: dict[str, Any] = {}
            while not traced.get("complete"):
                [traced] = await get(f"{url}/debug/traces?name=web")
            stages = traced["stages"]
            assert list(stages) == ["source", "debounce_in", "commit", "compute", "plan", "write", "ack"]
            assert list(stages.values()) == sorted(stages.values())
            assert traced["proxies"]["touched"] == traced["proxies"]["acked"] == 1
            assert traced["origin"] == "web.yaml:2"
            [synced] = await get(f"{url}/debug/syncz")
            assert synced["proxy"] == "a-1.default"
            assert synced["cluster_sent"] == synced["cluster_acked"] != ""
            dump = await get(f"{url}/debug/config_dump?proxyID=a-1.default&types=cds")
            clusters = dump["configs"][0]["dynamic_active_clusters"]
            assert wanted in {item["cluster"]["name"] for item in clusters}
            why = await get(f"{url}/debug/why?proxyID=a-1.default&type=cds&name={wanted}")
            assert why["path"][-1] == {"node": "services[default/web]", "revision": 1}
            assert ["services", "default", "web"] in [
                [source["table"], *source["key"].values()] for source in why["sources"]
            ]
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
            await wire.close()

    drive(settings(tmp_path), test)


def test_problems_name_file_line_object_and_field(tmp_path: Path) -> None:
    made = settings(tmp_path)
    (tmp_path / "config" / "broken.yaml").write_text(SERVICE + "---\nkind: [\n---" + DANGLING)

    async def test(app: App, url: str) -> None:
        problems = await get(f"{url}/debug/problems")
        assert [(p["level"], p["file"], p["line"], p["kind"], p["field"]) for p in problems] == [
            ("error", "broken.yaml", 7, "", ""),
            ("warning", "broken.yaml", 9, "VirtualService", "spec.http[0].route[0].destination.host"),
        ]
        registry = await get(f"{url}/debug/registryz")
        assert [service["id"]["host"] for service in registry] == ["web.default.svc.cluster.local"]

    drive(made, test)


def test_a_mesh_configuration_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n")

    async def test(app: App, url: str) -> None:
        shown = await get(f"{url}/debug/configz?kind=MeshConfig")
        assert shown[0]["value"]["outbound_traffic_policy"]["mode"] == "REGISTRY_ONLY"

    drive(settings(tmp_path, mesh_config=path), test)


def test_every_debug_path_answers(tmp_path: Path) -> None:
    made = settings(tmp_path)
    (tmp_path / "config" / "web.yaml").write_text(SERVICE)

    async def test(app: App, url: str) -> None:
        paths = await get(f"{url}/debug")
        assert {"/debug/problems", "/debug/traces", "/debug/configz", "/debug/registryz"} <= paths.keys()
        for path in paths:
            if path.startswith("/debug/") and path not in ("/debug/why", "/debug/config_dump"):
                await get(url + path)

    drive(made, test)


def test_a_paranoid_control_plane_finds_nothing_wrong(tmp_path: Path) -> None:
    made = settings(tmp_path, paranoid=True)
    (tmp_path / "config" / "web.yaml").write_text(SERVICE)

    async def test(app: App, url: str) -> None:
        client = Client(Node("10.0.0.9", "a-1", "default"), "GRPC")
        wire = channel(f"unix:{tmp_path / 'xds.sock'}")
        stream = asyncio.create_task(client.run(wire))
        wanted = "outbound|80||web.default.svc.cluster.local"
        while not any(wanted in names for names in client.state.values()):
            await asyncio.sleep(0.005)
        (tmp_path / "config" / "dangling.yaml").write_text(DANGLING)
        while app.graph.settled < 2:
            await asyncio.sleep(0.005)
        assert app.graph.counters.failed == 0
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        await wire.close()

    drive(made, test)


def internal_errors(app: App) -> float:
    text = app.metrics.text()[1].decode()
    [line] = [line for line in text.splitlines() if line.startswith("pilot_total_xds_internal_errors ")]
    return float(line.split()[1])


def test_a_fault_of_ours_ends_one_stream_and_is_counted(tmp_path: Path) -> None:
    async def test(app: App, url: str) -> None:
        wire = channel(f"unix:{tmp_path / 'xds.sock'}")
        leaving = asyncio.create_task(Client(Node("10.0.0.8", "b-1", "default")).run(wire))
        while not app.xds.streams:
            await asyncio.sleep(0.005)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        while app.xds.streams:
            await asyncio.sleep(0.005)
        assert internal_errors(app) == 0, "a client that hangs up is no fault"

        def broken(proxy: object, *, incremental: bool) -> None:
            raise ValueError("broken on purpose")

        app.views.open, whole = broken, app.views.open  # type: ignore[assignment,method-assign]
        # One request and no more: a client that is just writing when its stream ends is told otherwise.
        async with raw(f"unix:{tmp_path / 'xds.sock'}", "DELTA_GRPC") as call:
            await call.write(request("DELTA_GRPC"))
            assert (await status(call))[0] is grpc.StatusCode.UNKNOWN
        assert internal_errors(app) == 1
        app.views.open = whole  # type: ignore[method-assign]
        good = Client(Node("10.0.0.9", "a-1", "default"))
        stream = asyncio.create_task(good.run(wire))
        while not any("virtualOutbound" in names for names in good.state.values()):
            await asyncio.sleep(0.005)
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        await wire.close()

    drive(settings(tmp_path), test)
