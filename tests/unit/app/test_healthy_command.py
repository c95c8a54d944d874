"""`mini-istiod healthy`: what it asks, and what it makes of the answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.app.commands import main


@contextmanager
def answering(listening: socket.socket, answer: bytes) -> Iterator[list[bytes]]:
    """A server that takes one request and gives one answer, in two pieces; what it was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(answer[:9])
            connection.sendall(answer[9:])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        thread.join()
        listening.close()


def at(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def test_ready_is_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"
    with answering(at(tmp_path / "s"), answer) as asked:
        assert main(["healthy", f"unix:{tmp_path}/s"]) == 0
    assert asked[0].startswith(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n")
    assert capsys.readouterr().out == "ready\n"


def test_by_tcp_and_another_path(capsys: pytest.CaptureFixture[str]) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    with answering(listening, b"HTTP/1.0 200 OK\r\n\r\nOK") as asked:
        assert main(["healthy", f"127.0.0.1:{port}", "--path", "/_ping"]) == 0
    assert asked[0].startswith(b"GET /_ping ")


@pytest.mark.parametrize(
    "answer, message",
    [
        (
            b"HTTP/1.1 503 Service Unavailable\r\n\r\nwaiting for docker\n",
            "/ready answers 503: waiting for docker",
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "/ready answers 404: "),
        (b"", " answers with what is no HTTP"),
        (b"\x16\x03\x01 200", " answers with what is no HTTP"),
    ],
)
def test_all_else_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: bytes, message: str
) -> None:
    with answering(at(tmp_path / "s"), answer):
        assert main(["healthy", f"unix:{tmp_path}/s"]) == 1
    said = capsys.readouterr()
    assert said.err == f"mini-istiod: unix:{tmp_path}/s{message}\n"
    assert said.out == ""


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["healthy", f"unix:{tmp_path}/s"]) == 1
    message = f"mini-istiod: unix:{tmp_path}/s does not answer: No such file or directory\n"
    assert capsys.readouterr().err == message


def test_who_takes_too_long_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with at(tmp_path / "s"):
        assert main(["healthy", f"unix:{tmp_path}/s", "--timeout", "10ms"]) == 1
    assert capsys.readouterr().err == f"mini-istiod: unix:{tmp_path}/s does not answer: timed out\n"


def test_it_does_not_load_the_program() -> None:
    words = "import sys; from controlplane.app.commands import main; main(['healthy', 'unix:/nobody'])"
    done = subprocess.run(
        [sys.executable, "-c", f"{words}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    own = {name for name in modules if name.startswith("controlplane.")}
    assert own == {
        "controlplane.app",
        "controlplane.app.commands",
        "controlplane.app.healthy_command",
        "controlplane.base",
        "controlplane.base.errors",
        "controlplane.base.parse",
    }
    assert not modules & {"asyncio", "aiohttp", "grpc", "google", "cryptography", "yaml"}
