"""One dead name must not stop a mesh: Envoys start and follow while a resolver never answers."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.envoy.bootstrap import ControlPlane, bootstrap
from controlplane.inject.iptables import PROXY_UID
from controlplane.lab import fabric, netns, tools
from controlplane.lab.client import Protocol
from controlplane.lab.fetch import Admin
from controlplane.lab.pods import Lab, PodSpec
from controlplane.lab.site import Command
from controlplane.lab.waiting import wait_until
from tests.support import objects as a
from tests.support.envoys import MARKS, laboratory
from tests.support.files import MeshFiles
from tests.support.process import Process, started

pytestmark = MARKS

PROMPT = 12.0
"""Seconds.  A cluster that waits for its name holds LDS up for more than 60, a CDS ACK for more than 15."""
_RESOLVER = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
_SPEC = PodSpec("web-1", "default", "10.244.0.2", labels={"app": "web"})


@contextmanager
def silent_resolver(space: str) -> Iterator[socket.socket]:
    """A UDP port in the namespace that takes questions and never answers."""

    def listen() -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.bind(("127.0.0.1", 0))
        found.setblocking(False)
        return found

    with netns.inside(space, listen) as found:
        yield found


def asked(resolver: socket.socket, host: str) -> bool:
    """Whether the resolver has been asked for a host."""
    name = b"".join(bytes([len(part)]) + part.encode() for part in host.split("."))
    try:
        while name not in resolver.recv(1500):
            pass
    except BlockingIOError:
        return False
    return True


def start_envoy(lab: Lab, process: Process, protocol: Protocol, resolver: int) -> Admin:
    """An Envoy in the namespace "pod" of the lab that knows one resolver only."""
    config = bootstrap(_SPEC.node, ControlPlane(process.address, protocol), stats_prefixes=("control_plane",))
    address = {"socket_address": {"address": "127.0.0.1", "port_value": resolver, "protocol": "UDP"}}
    config["typed_dns_resolver_config"] = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": _RESOLVER,
            "resolvers": [address],
            "dns_resolver_options": {"use_tcp_for_dns_lookups": False, "no_default_search_domain": True},
        },
    }
    path = lab.directory / "bootstrap.json"
    path.write_text(json.dumps(config))
    argv = (str(tools.find_envoy(os.environ)), "--config-path", str(path), "--disable-hot-restart")
    space = lab.site.namespace("pod")
    log = lab.directory / "envoy.log"
    lab.site.start(Command("envoy", (*argv, "--concurrency", "1"), namespace=space, uid=PROXY_UID, log=log))
    return Admin(space)


def acked(process: Process, column: str) -> bool:
    found = process.get("/debug/syncz").json
    return len(found) == 1 and found[0][f"{column}_sent"] == found[0][f"{column}_acked"] != ""


def dns_entry(name: str, host: str) -> a.Object:
    return a.service_entry(name, f"{name}.example.com", resolution="DNS", ports="http=80", endpoints=(host,))


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_new_and_running_envoys_converge(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        files = MeshFiles(lab.directory / "config")
        files.put(a.service("web"))
        files.put(a.endpoints("web", ["10.244.0.2"]))
        files.put(dns_entry("first", "first.test"))
        space = lab.site.namespace("pod")
        fabric.attach(lab.site.namespace("fabric"), space, _SPEC.ip)
        with silent_resolver(space) as resolver, started(lab.directory) as process:
            process.wait_ready()
            began = time.monotonic()
            admin = start_envoy(lab, process, protocol, resolver.getsockname()[1])
            assert wait_until(admin.live, PROMPT), "a new Envoy has no listeners"
            assert wait_until(lambda: acked(process, "listener"), PROMPT)
            fresh = time.monotonic() - began
            # Otherwise this showed nothing.
            assert wait_until(lambda: asked(resolver, "first.test"), PROMPT)

            began = time.monotonic()
            process.files.put(dns_entry("second", "second.test"))
            assert wait_until(lambda: asked(resolver, "second.test"), PROMPT)
            assert wait_until(lambda: acked(process, "cluster"), PROMPT), "the CDS ACK is withheld"
            running = time.monotonic() - began
            # And what comes after that is taken in, too.
            process.files.put(a.service("later", number=20))
            name = "outbound|80||later.default.svc.cluster.local"
            assert wait_until(
                lambda: name in str(admin.config_dump("resource=dynamic_active_clusters")), PROMPT
            )
            assert admin.rejected() == {}
            print(f"{protocol}: listeners after {fresh:.2f} s, a change taken in after {running:.2f} s")
