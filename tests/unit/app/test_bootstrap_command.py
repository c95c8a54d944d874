"""`mini-istiod bootstrap`: what it prints, what it writes, and how it tells mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.commands import main

NODE = ("--ip", "10.0.0.7", "--name", "web-1", "--namespace", "prod")
LOCAL = ("--xds-address", "unix:/run/xds.sock")
REMOTE = ("--control-plane", "istiod.istio-system.svc:15012")
ROOT = ("--root-file", "/var/run/secrets/istio/root-cert.pem")
TOKEN = ("--token-file", "/var/run/secrets/tokens/istio-token")

NOWHERE = "/dev/null/x"
"""A folder that cannot be made: what is wrong must have been told before."""
PAIR = ("--cert-file", "/etc/certs/cert-chain.pem", "--key-file", "/etc/certs/key.pem")


def written(folder: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir()}


def test_printed_it_is_what_an_envoy_starts_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--label", "app=web", "--labels", "version=v1, tier=front", "--locality", "eu/eu-1")
    assert main(["bootstrap", *NODE, *LOCAL, *words, "--sa", "front"]) == 0
    node = json.loads(capsys.readouterr().out)["node"]
    assert node["id"] == "sidecar~10.0.0.7~web-1.prod~prod.svc.cluster.local"
    assert node["metadata"]["LABELS"] == {"app": "web", "version": "v1", "tier": "front"}
    assert node["metadata"]["SERVICE_ACCOUNT"] == "front"
    assert node["locality"] == {"region": "eu", "zone": "eu-1"}


@pytest.mark.parametrize(
    "words, namespace",
    [((), "default"), (("--sa", "web"), "default"), (("--sa", "prod/web"), "prod")],
)
def test_the_namespace_may_stand_before_the_account(
    words: tuple[str, ...], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bootstrap", "--ip", "10.0.0.7", "--name", "web-1", *LOCAL, *words]) == 0
    metadata = json.loads(capsys.readouterr().out)["node"]["metadata"]
    assert metadata["NAMESPACE"] == namespace
    assert metadata["SERVICE_ACCOUNT"] == ("web" if words else "default")


def test_a_gateway_is_a_router(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bootstrap", *NODE, *LOCAL, "--kind", "router", "--protocol", "GRPC"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["node"]["id"].startswith("router~10.0.0.7~")
    assert made["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"


def test_tls_and_a_token_take_files_that_point_to_files(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    assert main(["bootstrap", *NODE, *REMOTE, *ROOT, *TOKEN, "--out", str(out)]) == 0
    files = written(out)
    assert sorted(files) == ["envoy.json", "root.json", "token.json"]
    assert ROOT[1] in json.dumps(files["root.json"])
    assert TOKEN[1] in json.dumps(files["token.json"])
    for name in ("root.json", "token.json"):
        assert str(out / name) in json.dumps(files["envoy.json"])
    assert all((out / name).stat().st_mode & 0o777 == 0o644 for name in files)


def test_a_certificate_of_its_own_takes_a_file_more(tmp_path: Path) -> None:
    assert main(["bootstrap", *NODE, *REMOTE, *ROOT, *PAIR, "--out", str(tmp_path)]) == 0
    files = written(tmp_path)
    assert sorted(files) == ["certificate.json", "envoy.json", "root.json"]
    (secret,) = files["certificate.json"]["resources"]
    assert secret["tls_certificate"] == {
        "certificate_chain": {"filename": PAIR[1]},
        "private_key": {"filename": PAIR[3]},
        "watched_directory": {"path": "/etc/certs"},
    }
    assert str(tmp_path / "certificate.json") in json.dumps(files["envoy.json"])


def test_the_proxy_may_see_the_folder_elsewhere(tmp_path: Path) -> None:
    assert main(["bootstrap", *NODE, *REMOTE, *ROOT, "--out", str(tmp_path), "--seen-at", "/etc/envoy"]) == 0
    files = written(tmp_path)
    assert sorted(files) == ["envoy.json", "root.json"]
    text = json.dumps(files["envoy.json"])
    assert "/etc/envoy/root.json" in text
    assert str(tmp_path) not in text


def test_written_again_it_is_moved_into_place(tmp_path: Path) -> None:
    argv = ["bootstrap", *NODE, *REMOTE, *ROOT, "--out", str(tmp_path)]
    assert main(argv) == 0
    with (tmp_path / "root.json").open() as before:
        assert main([*argv, "--tls-name", "plane.example.com"]) == 0
        # A reader of the old file reads the old file to its end.
        assert "plane.example.com" not in before.read()
    assert "plane.example.com" in (tmp_path / "root.json").read_text()
    assert sorted(written(tmp_path)) == ["envoy.json", "root.json"]


@pytest.mark.parametrize(
    "words, told",
    [
        (
            (*NODE, *REMOTE),
            "--xds-address, --control-plane: istiod.istio-system.svc:15012 is not on this machine",
        ),
        (
            (*NODE, *REMOTE, *TOKEN, "--out", NOWHERE),
            "--token-file: istiod.istio-system.svc:15012 would get it",
        ),
        (
            (*NODE, *REMOTE, *TOKEN, "--plaintext", "--out", NOWHERE),
            "--token-file: istiod.istio-system.svc:15012",
        ),
        ((*NODE, *REMOTE, *ROOT, "--plaintext"), "--plaintext: cannot be used with --root-file"),
        ((*NODE, *REMOTE, *ROOT), "--out: is needed with --root-file and --token-file"),
        ((*NODE, *LOCAL, *TOKEN), "--out: is needed with --root-file and --token-file"),
        (
            (*NODE, *REMOTE, "--root-file", "root.pem", "--out", NOWHERE),
            "--root-file: 'root.pem' cannot",
        ),
        ((*NODE, *REMOTE, *ROOT, "--token-file", "t", "--out", NOWHERE), "--token-file: 't' cannot be used"),
        (
            (*NODE, *REMOTE, *ROOT, "--out", NOWHERE, "--cert-file", "/c"),
            "--cert-file, --key-file: one is of",
        ),
        ((*NODE, *LOCAL, *PAIR, "--out", NOWHERE), "--cert-file: a certificate is shown over TLS"),
        (
            (*NODE, *REMOTE, *ROOT, *PAIR[:3], "/k", "--out", NOWHERE),
            "--key-file: must be beside --cert-file",
        ),
        ((*NODE, *LOCAL, "--out", NOWHERE, "--seen-at", "y"), "--seen-at: 'y' cannot be used"),
        ((*NODE, *LOCAL, "--sa", "test/web"), "--service-account: 'test/web' is not in 'prod'"),
        ((*NODE, *LOCAL, "--label", "app"), "--label: 'app' cannot be used; allowed is KEY=VALUE"),
        ((*NODE, *LOCAL, "--labels", "a=b,=c"), "--labels: '=c' cannot be used; allowed is KEY=VALUE"),
        (("--ip", "web", "--name", "a", *LOCAL), "--ip: 'web' cannot be used; allowed is an IP address"),
        (("--ip", "10.0.0.7", "--name", "a~b", *LOCAL), "--ip, --name, --namespace: node id"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bootstrap", *words]) == 2
    found = capsys.readouterr()
    assert found.err.startswith(f"mini-istiod: {told}")
    assert (found.out, found.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    "address, told",
    [("somewhere", "the port is missing"), (":15012", "a host and a port"), ("unix:x", "an absolute path")],
)
def test_an_address_that_is_none(address: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bootstrap", *NODE, "--xds-address", address])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["bootstrap", *NODE, *LOCAL, "--out", str(tmp_path / "file")]) == 2
    assert "it is not a directory" in capsys.readouterr().err
