"""Pods on a real kernel: they start, their traffic is redirected, and nothing of them is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import ledger, netns, site, tools
from controlplane.lab.fetch import Target, fetch
from controlplane.lab.pods import App, Lab, Pod, PodError, PodSpec, Sidecar
from controlplane.lab.shop import SAMPLE
from controlplane.lab.site import Command, Place
from controlplane.lab.waiting import wait_until


def unfit() -> str:
    """Why these tests cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and redirect rules"
    try:
        tools.find_envoy(os.environ)
        tools.find_iptables_restore(os.environ)
    except EnvironmentUnfit as error:
        return str(error)
    return ""


pytestmark = [
    pytest.mark.netns,
    pytest.mark.envoy,
    pytest.mark.skipif(bool(unfit()), reason=unfit()),
]

SO_ORIGINAL_DST = 80


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place of this test's own, beside labs that may run on this machine."""
    # Under /run, because pytest keeps tmp_path where Envoy's user cannot enter.
    root = Path(f"/run/mini-istiod-test-{os.getpid()}-{tmp_path.name[-8:]}")
    found = Place(root, f"mi-test-{os.getpid()}-")
    yield found
    site.sweep(found)
    (root / "labs.lock").unlink(missing_ok=True)
    root.rmdir()
    assert netns.names(found.prefix) == ()


def spec(name: str, number: int, *, serves: bool = True) -> PodSpec:
    app = App(SAMPLE / "server.py", ("details", "v1", "9080"), port=9080) if serves else None
    return PodSpec(name, "default", f"10.244.0.{number}", labels={"app": name}, app=app)


def remains(place: Place) -> list[str]:
    """Everything that a lab at this place could leave behind."""
    files = [path.name for path in place.root.iterdir() if path.name != "labs.lock"]
    running = [line.decode() for line in command_lines() if str(place.root).encode() in line]
    return [*files, *netns.names(place.prefix), *running]


def command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield path.read_bytes()


def test_a_pod_serves_and_goes(place: Place) -> None:
    with Lab(place) as lab:
        server = lab.start(spec("server", 2), None)
        client = lab.start(spec("client", 3, serves=False), None)
        lab.wait_ready()
        answer = fetch(Target(client.netns, "10.244.0.2", 9080), "/")
        assert answer.json()["name"] == "details"
        assert remains(place)
        assert Path(f"/proc/{server.processes['app'].pid}").stat().st_uid != 1337
    assert remains(place) == []


def test_an_envoy_runs_as_its_user_and_asks_the_socket_it_was_given(place: Place) -> None:
    with Lab(place) as lab:
        path = lab.directory / "xds.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen()
            listener.settimeout(10)
            pod = lab.start(spec("server", 2), Sidecar(f"unix:{path}"))
            envoy = pod.processes["envoy"]
            assert Path(f"/proc/{envoy.pid}").stat().st_uid == 1337
            accepted, _ = listener.accept()
            with accepted:
                # The HTTP/2 preface: Envoy speaks gRPC to us, across the namespace's border.
                assert accepted.recv(24).startswith(b"PRI * HTTP/2.0")
            assert pod.admin.rejected() == {}
            # No configuration has come: neither Envoy nor the pod may say that it is ready.
            assert not pod.ready()
    assert remains(place) == []


def test_a_pod_that_cannot_start_says_why(place: Place) -> None:
    with Lab(place) as lab:
        broken = PodSpec(
            "broken", "default", "10.244.0.2", app=App(SAMPLE / "server.py", ("details",), port=9080)
        )
        lab.start(broken, None)
        with pytest.raises(PodError, match="IndexError"):
            lab.wait_ready()


def test_a_deleted_pod_leaves_the_others_alone(place: Place) -> None:
    with Lab(place) as lab:
        first, second = lab.start(spec("first", 2), None), lab.start(spec("second", 3), None)
        lab.wait_ready()
        lab.delete(first)
        assert first.processes["app"].returncode == -signal.SIGTERM
        assert fetch(Target(second.netns, "10.244.0.3", 9080), "/").status == 200
        assert netns.names(lab.site.namespace("first")) == ()
        # Its name and address may be used again at once.
        lab.start(spec("first", 2), None)
        lab.wait_ready()


def test_an_exception_clears_everything(place: Place) -> None:
    with pytest.raises(ZeroDivisionError), Lab(place) as lab:
        lab.start(spec("server", 2), None)
        _ = 1 / 0
    assert remains(place) == []


def test_where_only_root_can_run_python_the_apps_are_root(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = tools.find_interpreter
    monkeypatch.setattr(
        tools, "find_interpreter", lambda uid, folder: find(uid, folder) if uid == 0 else None
    )
    with Lab(place) as lab:
        pod = lab.start(spec("server", 2), None)
        lab.wait_ready()
        assert Path(f"/proc/{pod.processes['app'].pid}").stat().st_uid == 0


# -- redirection --------------------------------------------------------------------------------


@pytest.fixture
def intercepted(place: Place) -> Iterator[Pod]:
    """A pod with the rules, whose Envoy is replaced by plain listeners that the test holds."""
    with Lab(place) as lab:
        pod = lab.start(spec("server", 2), Sidecar("unix:/nonexistent"))
        lab.start(spec("peer", 3, serves=False), None)
        yield pod


def listen(pod: Pod, port: int) -> socket.socket:
    listener = netns.inside(pod.netns, lambda: socket.create_server(("0.0.0.0", port)))
    listener.settimeout(5)
    return listener


def arrival(listener: socket.socket, call: Callable[[], socket.socket]) -> tuple[str, int]:
    """The original destination of the connection that `call` opens."""
    with call(), listener, listener.accept()[0] as accepted:
        raw = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        port, address = struct.unpack_from("!2xH4s", raw)
        return socket.inet_ntoa(address), port


def test_what_the_application_opens_arrives_at_15001(intercepted: Pod) -> None:
    listener = listen(intercepted, 15001)
    found = arrival(listener, lambda: netns.connect(intercepted.netns, "10.96.0.10", 80, 5))
    assert found == ("10.96.0.10", 80)


def test_what_is_opened_to_it_arrives_at_15006(intercepted: Pod) -> None:
    peer = intercepted.netns.replace("server", "peer")
    listener = listen(intercepted, 15006)
    assert arrival(listener, lambda: netns.connect(peer, "10.244.0.2", 8080, 5)) == ("10.244.0.2", 8080)


def test_what_envoy_opens_goes_out(intercepted: Pod, place: Place) -> None:
    program = "import socket; socket.create_connection(('10.96.0.10', 80), 5)"
    interpreter = tools.find_interpreter(1337, place.root)
    if interpreter is None:
        pytest.skip("no Python here that user 1337 may run")
    refused = netns.inside(
        intercepted.netns,
        lambda: subprocess.run(
            [interpreter, "-I", "-S", "-c", program],
            user=1337,
            group=1337,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=10,
        ),
    )
    # Nobody listens on 15001: redirected it would be refused, going out it finds no network.
    assert "Network is unreachable" in refused.stderr or "No route to host" in refused.stderr


# -- what a crash leaves ------------------------------------------------------------------------

CRASHING = """
import sys
from pathlib import Path
from controlplane.lab.pods import App, Lab, PodSpec, Sidecar
from controlplane.lab.site import Command, Place

lab = Lab(Place(Path(sys.argv[1]), sys.argv[2]))
app = App(Path(sys.argv[3]), ("details", "v1", "9080"), port=9080)
lab.start(PodSpec("victim", "default", "10.244.0.2", app=app), Sidecar("unix:/nonexistent"))
# One that lives in the host's namespace, as the control plane does.
lab.site.start(Command("outside", ("/bin/sh", "-c", "sleep 60 # " + sys.argv[1])))
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def crashed(place: Place) -> Iterator[Place]:
    """A lab whose owner was killed while a pod and another process were running."""
    argv = [sys.executable, "-c", CRASHING, str(place.root), place.prefix, str(SAMPLE / "server.py")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        owner.kill()
    # Its processes are nobody's children now; it takes a moment until init has them.
    yield place


def test_the_next_lab_clears_what_a_killed_one_left(crashed: Place) -> None:
    # What was started last may still be on its way to the program that it is to become.
    assert wait_until(lambda: any("sleep 60" in line for line in remains(crashed)), 40)
    assert any("bootstrap.json" in line for line in remains(crashed))
    assert any(name.endswith("-victim") for name in netns.names(crashed.prefix))
    with Lab(crashed) as lab:
        assert lab.site.number == 1
        assert netns.names(crashed.prefix) == (lab.site.namespace("fabric"),)
        assert wait_until(lambda: not any("sleep 60" in line for line in remains(crashed)), 40)
        assert not any("bootstrap.json" in line for line in remains(crashed))
    assert remains(crashed) == []


def test_a_foreign_process_is_not_taken_for_a_leftover(crashed: Place) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as foreign:
        # As if the pid of a recorded process had been given out again.
        entry = ledger.Entry(foreign.pid, 1, ledger.boot_id(), "long gone")
        ledger.append(crashed.root / "lab1.processes", entry)
        assert site.sweep(crashed) == (1,)
        assert foreign.poll() is None
        foreign.kill()
    assert remains(crashed) == []


def test_a_living_lab_is_not_a_leftover(place: Place) -> None:
    with Lab(place) as first:
        first.start(spec("server", 2), None)
        first.wait_ready()
        assert site.sweep(place) == ()
        with Lab(place) as second:
            assert (first.site.number, second.site.number) == (1, 2)
            # The same name and the same address, each in its own world.
            second.start(spec("server", 2), None)
            second.wait_ready()
        first.wait_ready()
        assert fetch(Target(first.pods["server"].netns, "10.244.0.2", 9080), "/").status == 200
    assert remains(place) == []


def test_namespaces_without_any_record_are_cleared_too(place: Place) -> None:
    with Lab(place):
        netns.create(f"{place.prefix}lab7-orphan")
        assert site.sweep(place) == (7,)
        assert netns.names(f"{place.prefix}lab7-") == ()


def test_logs_can_be_kept_until_the_next_lab(place: Place) -> None:
    lab = Lab(place)
    lab.start(spec("server", 2), None)
    lab.close(keep_files=True)
    assert (place.root / "lab1/pods/server/app.log").exists()
    assert netns.names(place.prefix) == ()
    with Lab(place) as again:
        assert not (again.directory / "pods").exists()


def test_a_program_in_a_closed_folder_can_be_run(place: Place, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    sleep = closed / "sleep"
    sleep.write_bytes(Path("/bin/sleep").read_bytes())
    sleep.chmod(0o755)
    with Lab(place) as lab:
        process = lab.site.start(Command("closed", (str(sleep), "0"), uid=1337, log=lab.directory / "log"))
        assert process.wait() == 0
