"""mini-istioctl against a small server that answers like the monitoring port."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controlplane import __version__
from controlplane.ctl import proxy_status
from controlplane.ctl.__main__ import main

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
SDS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
SENT = {"sent": "v1", "acked": "v1", "sentTime": "2026-01-01T00:00:00+00:00"}


def proxy(name: str, **resources: dict[str, Any]) -> dict[str, Any]:
    urls = {"cds": CDS, "eds": EDS, "lds": LDS, "sds": SDS}
    return {
        "cluster_id": "Kubernetes",
        "proxy": name,
        "istio_version": "1.28",
        "resources": {urls[key]: value for key, value in resources.items()},
    }


@contextmanager
def serving(answers: dict[str, tuple[int, str]], token: str = "") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, '{"error": "there is nothing"}'))
            if token and self.headers["Authorization"] != f"Bearer {token}":
                status, body = 401, '{"error": "only with a bearer token"}'
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def syncz(*proxies: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {"/debug/syncz": (200, json.dumps(proxies))}


def test_proxies_are_listed_with_their_states(capsys: pytest.CaptureFixture[str]) -> None:
    stale = proxy("b.default", cds=SENT, eds={**SENT, "acked": "v0"}, lds={**SENT, "lastError": "bad"})
    with serving(syncz(stale, proxy("a.default", cds=SENT))) as address:
        assert main(["ps", "--monitoring", address]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "VERSION"]
    assert [line[0] for line in lines[1:]] == ["a.default", "b.default"]
    assert lines[1][2] == "SYNCED"
    assert lines[1][4:] == ["NOT", "SENT", "NOT", "SENT", "NOT", "SENT", "1.28"]
    assert [word for word in lines[2] if word.isupper()] == ["SYNCED", "ERROR", "STALE", "NOT", "SENT"]


def test_secrets_are_a_column_where_somebody_has_some(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(syncz(proxy("b.default", sds=SENT), proxy("a.default", cds=SENT))) as address:
        assert main(["ps", "--monitoring", address]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "SDS", "VERSION"]
    assert lines[1][-3:] == ["NOT", "SENT", "1.28"]
    assert lines[2][-3] == "SYNCED"


@pytest.mark.parametrize(
    ("wanted", "found"), [("a.x", ["a.x"]), ("a", ["a.x", "a.y"]), ("", ["a.x", "a.y", "b.x"])]
)
def test_one_proxy_may_be_asked_for(
    capsys: pytest.CaptureFixture[str], wanted: str, found: list[str]
) -> None:
    with serving(syncz(proxy("b.x"), proxy("a.y"), proxy("a.x"))) as address:
        assert main(["proxy-status", wanted, "-o", "json", "--xds-address", f"http://{address}/"]) == 0
    assert [item["proxy"] for item in json.loads(capsys.readouterr().out)] == found


def test_a_proxy_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(syncz(proxy("b.x"))) as address:
        assert main(["ps", "nobody", "--monitoring", address]) == 1
    assert "no proxy nobody" in capsys.readouterr().err


def test_no_proxies_is_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(syncz()) as address:
        assert main(["ps", "--monitoring", address]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    with serving({"/version": (200, '{"version": "9.9"}')}) as address:
        assert main(["version", "--monitoring", address]) == 0
    assert capsys.readouterr().out == f"client version: {__version__}\ncontrol plane version: 9.9\n"
    assert main(["version", "--remote=false", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"client": __version__}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((503, "sources: waiting"), "answered 503: sources: waiting"),
        ((200, "<html>"), "did not answer with JSON"),
        ((200, "{}"), "other JSON"),
    ],
)
def test_a_wrong_answer_is_told(
    capsys: pytest.CaptureFixture[str], answer: tuple[int, str], message: str
) -> None:
    with serving({"/debug/syncz": answer}) as address:
        assert main(["ps", "--monitoring", address]) == 1
    assert message in capsys.readouterr().err


def test_an_absent_control_plane_is_told_whatever_proxy_is_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:2")
    with serving({}) as address:
        gone = address
    assert main(["ps", "--monitoring", gone]) == 1
    assert f"cannot reach http://{gone}/debug/syncz" in capsys.readouterr().err
    assert main(["ps", "--monitoring", "ftp://x"]) == 1
    assert "give http://HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["ps", "--timeout", "5"], ["version", "--remote=x"]])
def test_wrong_usage_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: mini-istioctl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sent", "cell"),
    [
        ("2026-01-01T11:59:18+00:00", "SYNCED (42s)"),
        ("2026-01-01T11:55:00Z", "SYNCED (5m)"),
        ("2026-01-01T09:00:00+00:00", "SYNCED (3h)"),
        ("2025-12-30T00:00:00+00:00", "SYNCED (2d)"),
        ("2026-01-01T13:00:00+00:00", "SYNCED (0s)"),
        ("yesterday", "SYNCED"),
        ("2026-01-01T00:00:00", "SYNCED"),
        (None, "SYNCED"),
    ],
)
def test_ages(sent: str | None, cell: str) -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    shown = proxy_status.table([proxy("a.x", cds={**SENT, "sentTime": sent})], now)
    assert str(next(iter(shown.columns[2].cells))) == cell


def test_a_proxys_name_cannot_steer_the_terminal() -> None:
    shown = proxy_status.table([proxy("a\x1b[2J[red].x")])
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    assert "a?[2J[red].x" in capture.get()


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with serving(syncz(*[proxy(f"proxy-{n}.default") for n in range(3000)])) as address:
        command = f"{sys.executable} -W error -m controlplane.ctl ps --monitoring {address} | head -1"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60
        )
    assert done.stdout.startswith("NAME")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_token_is_shown_from_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "token"
    place.write_text("a.b.c\n")
    with serving(syncz(proxy("a.default", cds=SENT)), token="a.b.c") as address:
        assert main(["ps", "--monitoring", address, "--token-file", str(place)]) == 0
        assert "a.default" in capsys.readouterr().out
        assert main(["ps", "--monitoring", address]) == 1
        error = capsys.readouterr().err
        assert "401" in error and "bearer token" in error


@pytest.mark.parametrize("content", [None, b"one\ntwo", b"\xff"])
def test_a_token_file_that_cannot_be_used_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    place = tmp_path / "token"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["ps", "--token-file", str(place)])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "--token-file" in error
    assert "two" not in error
