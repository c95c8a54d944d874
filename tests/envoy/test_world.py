"""What there is beside pods: machines, servers outside, names, and applications that echo; without Envoys."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import netns
from controlplane.lab.fetch import Target, fetch
from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab, Pod
from tests.support.envoys import MARKS, laboratory
from tests.support.servers import Issuer

pytestmark = MARKS

ECHO = Path(__file__).parents[2] / "controlplane" / "lab" / "samples" / "echo"
POD, SERVICES, VM, SERVER = "10.244.0.2", "10.244.0.3", "192.168.64.2", "203.0.113.10"
NAMES = {"edition.example.com": [SERVER], "*.wild.example.com": ["203.0.113.11", "203.0.113.12"]}
ISSUER = Issuer()

# As an application would: by whatever its machine's resolver is.
ASKING = """
import json, socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = sorted({one[4][0] for one in socket.getaddrinfo(name, 80, socket.AF_INET)})
    except socket.gaierror:
        found[name] = []
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("world")) as made:
        pem = made.directory / "server.pem"
        pair = ISSUER.issue("edition.example.com")
        pem.write_bytes(pair.chain + pair.key)
        pem.chmod(0o644)
        made.start(
            PodSpec("names", "kube-system", SERVICES, app=App(ECHO / "names.py", ("53", json.dumps(NAMES)))),
            None,
        )
        web = App(ECHO / "web.py", ("inside", "80"), port=80)
        made.start(PodSpec("vm", "prod", VM, app=web, nameservers=(SERVICES,)), None)
        made.start(
            PodSpec("server", "outside", SERVER, app=App(ECHO / "web.py", ("outside", "443", str(pem)))), None
        )
        rpc = App(ECHO / "rpc.py", ("rpc", "7070"), opens=7070, libraries=True)
        made.start(PodSpec("pod", "prod", POD, app=rpc, nameservers=(SERVICES,)), None)
        lines = App(ECHO / "tcp.py", ("lines", "9000", "9001", "--greet"), opens=9001)
        made.start(PodSpec("lines", "prod", "10.244.0.4", app=lines), None)
        made.wait_ready()
        yield made


def answer_of(process: Popen[str]) -> list[object]:
    with process:
        assert process.stdout is not None
        return [json.loads(line) for line in process.stdout]


def test_networks_reach_each_other(lab: Lab) -> None:
    for name in ("pod", "server"):
        seen = fetch(Target(lab.pods[name].netns, VM, 80), "/hello?status=418", headers={"x-key": name})
        assert (seen.status, seen.json()["name"], seen.json()["path"]) == (418, "inside", "/hello?status=418")
    with pytest.raises(EnvironmentUnfit, match=r"192\.0\.2\.1 is in no network of the lab"):
        lab.start(PodSpec("nowhere", "prod", "192.0.2.1"), None)
    netns.remove(lab.site.namespace("nowhere"))


def test_a_server_counts_what_it_got_and_fails_so_often(lab: Lab) -> None:
    target, key = Target(lab.pods["pod"].netns, VM, 80), {"x-key": "counted"}
    tries = [fetch(target, "/a?status=503&times=2", headers=key).status for _ in range(3)]
    assert tries == [503, 503, 200]
    seen = fetch(target, "/-/seen/counted").json()
    assert [one["method"] for one in seen] == ["GET"] * 3
    assert {one["headers"]["x-key"] for one in seen} == {"counted"}


def test_a_server_outside_speaks_tls(lab: Lab) -> None:
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    with (
        netns.connect(lab.pods["pod"].netns, SERVER, 443, 5) as raw,
        context.wrap_socket(raw, server_hostname="edition.example.com") as wrapped,
    ):
        wrapped.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b'"name": "outside"' in b"".join(iter(lambda: wrapped.recv(4096), b""))
    # It outlives who does not.
    with netns.connect(lab.pods["pod"].netns, SERVER, 443, 5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        raw.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1" not in raw.recv(4096)
    with (
        netns.connect(lab.pods["pod"].netns, SERVER, 443, 5) as raw,
        context.wrap_socket(raw, server_hostname="edition.example.com") as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"


def ask(lab: Lab, pod: Pod, *names: str) -> object:
    script = lab.directory / "asking.py"
    script.write_text(ASKING)
    return answer_of(lab.run_in(pod, App(script, names)))[0]


def test_programs_ask_the_name_server_of_their_pod(lab: Lab) -> None:
    found = ask(
        lab, lab.pods["pod"], "edition.example.com", "a.wild.example.com", "b.a.wild.example.com", "no.such"
    )
    wild = ["203.0.113.11", "203.0.113.12"]
    assert found == {
        "edition.example.com": [SERVER],
        "a.wild.example.com": wild,
        "b.a.wild.example.com": wild,
        "no.such": [],
    }
    # Who has none has this machine's; what is mounted for others is not seen here.
    assert SERVICES not in Path("/etc/resolv.conf").read_text()


def test_lines_come_back_and_a_server_may_speak_first(lab: Lab) -> None:
    for port in (9000, 9001):
        with netns.connect(lab.pods["pod"].netns, "10.244.0.4", port, 5) as connection:
            connection.settimeout(5)
            reader = connection.makefile("rb")
            assert reader.readline() == b"lines ready\n"
            connection.sendall(b"one\ntwo\n")
            connection.shutdown(socket.SHUT_WR)
            assert reader.read() == b"lines one\nlines two\n"


def test_calls_by_grpc(lab: Lab) -> None:
    calls = [
        {"method": "Say", "message": {"a": 1}, "metadata": {"who": "me"}},
        {"method": "Count", "message": {"to": 3}},
        {"method": "Fail", "message": {"code": 8}},
    ]
    order = {"target": f"{POD}:7070", "authority": "echo.prod", "calls": calls}
    client = App(ECHO / "rpc_call.py", (json.dumps(order),), libraries=True)
    said, counted, failed = answer_of(lab.run_in(lab.pods["vm"], client))
    assert said["code"] == "OK" and said["answers"][0]["said"] == {"a": 1}
    assert said["answers"][0]["metadata"]["who"] == "me"
    assert counted == {
        "code": "OK",
        "details": "",
        "answers": [{"name": "rpc", "number": n} for n in range(3)],
    }
    assert (failed["code"], failed["details"]) == ("RESOURCE_EXHAUSTED", "rpc was asked to fail")
