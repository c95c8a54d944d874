"""`mini-istiod provision`: whose files it makes, who can read them, and how it tells mistakes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.commands import main
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import AUDIENCE, Account, Wish

MINE = f"{os.geteuid()}:{os.getegid()}"
REVIEWS = "reviews-v1=default/reviews"
GATEWAY = "gateway=istio-system/ingress,router,istio=ingressgateway,tier="
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def provision(tmp_path: Path, *proxies: str, owner: str = MINE, more: tuple[str, ...] = ()) -> int:
    words = [word for one in proxies for word in ("--proxy", one)]
    return main(
        [
            "provision",
            *("--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "out")),
            *("--xds-address", "mini-istiod:15012", "--root-file", "/etc/roots/root-cert.pem"),
            *("--seen-at", "/etc/mini-istiod", "--owner", owner, *words, *more),
        ]
    )


def held(tmp_path: Path, name: str) -> Account:
    """What the token of a proxy says, judged by the control plane of the data directory."""
    token = (tmp_path / "out" / name / "token").read_text()
    assert token.endswith("\n")
    return TokenStore(tmp_path / "data").issuer.judge(token.strip(), AUDIENCE, time.time())


def node(tmp_path: Path, name: str) -> Any:
    return json.loads((tmp_path / "out" / name / "envoy.json").read_text())["node"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_proxy_gets_what_it_starts_with_in_a_folder_of_its_own(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS, GATEWAY) == 0
    files = {"envoy.json", "healthy.sh", "root.json", "token", "token.json"}
    for name in ("reviews-v1", "gateway"):
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == files
    reviews, gateway = node(tmp_path, "reviews-v1"), node(tmp_path, "gateway")
    assert reviews["id"] == "sidecar~0.0.0.0~reviews-v1.default~default.svc.cluster.local"
    assert reviews["metadata"]["SERVICE_ACCOUNT"] == "reviews"
    assert gateway["id"] == "router~0.0.0.0~gateway.istio-system~istio-system.svc.cluster.local"
    assert gateway["metadata"]["LABELS"] == {"istio": "ingressgateway", "tier": ""}


def test_its_paths_are_those_that_the_proxy_sees(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS) == 0
    folder = tmp_path / "out/reviews-v1"
    made = (folder / "envoy.json").read_text()
    assert '"/etc/mini-istiod/root.json"' in made and '"/etc/mini-istiod/token.json"' in made
    assert '"address": "mini-istiod"' in made and '"port_value": 15012' in made
    assert '"filename": "/etc/roots/root-cert.pem"' in (folder / "root.json").read_text()
    assert '"filename": "/etc/mini-istiod/token"' in (folder / "token.json").read_text()
    assert str(tmp_path) not in "".join(path.read_text() for path in folder.iterdir())


def test_a_token_is_for_one_pod_and_for_a_year(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS, "reviews-v2=default/reviews") == 0
    one, two = held(tmp_path, "reviews-v1"), held(tmp_path, "reviews-v2")
    assert (one.path, one.pod) == ("default/reviews", "reviews-v1")
    assert (two.path, two.pod) == ("default/reviews", "reviews-v2")
    assert one.expires - one.issued == 8760 * 3600
    assert one.id != two.id


def test_only_its_owner_reads_a_token_and_all_the_rest(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert provision(tmp_path, REVIEWS) == 0
    finally:
        os.umask(before)
    folder = tmp_path / "out/reviews-v1"
    assert mode(folder / "token") == 0o400
    assert {mode(path) for path in folder.iterdir() if path.name != "token"} == {0o644}
    token = (folder / "token").read_text().strip()
    assert all(token not in path.read_text() for path in (tmp_path / "out").rglob("*.json"))


def test_what_is_said_holds_no_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert provision(tmp_path, GATEWAY, more=("--ttl", "1h")) == 0
    said = capsys.readouterr()
    assert said.out.startswith("gateway: router of istio-system/ingress, until ")
    assert (tmp_path / "out/gateway/token").read_text().strip() not in said.out + said.err


def test_again_it_keeps_a_token_that_is_good(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS) == 0
    path = tmp_path / "out/reviews-v1/token"
    first, state = path.read_text(), path.stat()
    issued = (tmp_path / "data/tokens/issued.json").read_text()
    with path.open():
        assert provision(tmp_path, REVIEWS) == 0
        assert path.stat().st_ino == state.st_ino
    assert path.read_text() == first
    assert (tmp_path / "data/tokens/issued.json").read_text() == issued


def test_a_kept_token_gets_the_owner_and_mode_that_it_should_have(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS) == 0
    path = tmp_path / "out/reviews-v1/token"
    first = path.read_text()
    path.chmod(0o644)
    assert provision(tmp_path, REVIEWS) == 0
    assert path.read_text() == first
    assert mode(path) == 0o400


def test_what_lies_there_and_is_no_token_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out/reviews-v1"
    folder.mkdir(parents=True)
    for content in (b"", b"a.b.c", "\u00e4".encode(), b"eyJhbGciOiJub25lIn0.e30."):
        (folder / "token").unlink(missing_ok=True)
        (folder / "token").write_bytes(content)
        assert provision(tmp_path, REVIEWS) == 0
        assert held(tmp_path, "reviews-v1").pod == "reviews-v1"


def test_it_takes_back_what_it_gave_to_who_is_not_named_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = "reviews-v1-2=default/reviews"
    assert provision(tmp_path, REVIEWS, pair) == 0
    kept, gone = held(tmp_path, "reviews-v1"), held(tmp_path, "reviews-v1-2")
    store = TokenStore(tmp_path / "data")
    _, made_by_hand = store.issue(Wish("default", "reviews", 3600.0, pod="vm-1"), time.time())
    capsys.readouterr()
    assert provision(tmp_path, REVIEWS, more=("--keep-unnamed",)) == 0
    assert store.revoked().tokens == {}
    assert provision(tmp_path, REVIEWS) == 0
    assert store.revoked().tokens == {gone.id: gone.expires}
    assert store.revoked().reason(made_by_hand.id, made_by_hand.path, made_by_hand.issued) == ""
    assert f"reviews-v1-2: not named any more; its token {gone.id}" in capsys.readouterr().out
    # Named again, it gets another one, and the first keeps its own.
    assert provision(tmp_path, REVIEWS, pair) == 0
    assert held(tmp_path, "reviews-v1-2").id != gone.id
    assert held(tmp_path, "reviews-v1") == kept


def test_the_health_check_is_bash_that_everybody_may_read(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS) == 0
    script = tmp_path / "out/reviews-v1/healthy.sh"
    assert mode(script) == 0o644
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_again_it_renews_the_tokens_by_moving_new_files_in(tmp_path: Path) -> None:
    assert provision(tmp_path, REVIEWS) == 0
    folder, first = tmp_path / "out/reviews-v1", held(tmp_path, "reviews-v1")
    numbers = {path.name: path.stat().st_ino for path in folder.iterdir()}
    # Held open, so that no new file gets the number of an old one.
    with (folder / "token").open() as token, (folder / "envoy.json").open() as bootstrap:
        assert provision(tmp_path, REVIEWS, more=("--ttl", "2h")) == 0
        assert (folder / "token").stat().st_ino != os.fstat(token.fileno()).st_ino
        assert (folder / "envoy.json").stat().st_ino != os.fstat(bootstrap.fileno()).st_ino
    second = held(tmp_path, "reviews-v1")
    assert second.id != first.id
    assert second.expires - second.issued == 7200
    assert {path.name for path in folder.iterdir()} == set(numbers)


@ROOT
def test_root_gives_the_tokens_to_envoy_and_the_rest_to_the_control_plane(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 65532, 65533)
    assert provision(tmp_path, REVIEWS, owner="1337:1338") == 0
    token = (tmp_path / "out/reviews-v1/token").stat()
    assert (token.st_uid, token.st_gid, stat.S_IMODE(token.st_mode)) == (1337, 1338, 0o400)
    made = [tmp_path / "data/tokens", *(tmp_path / "data/tokens").iterdir()]
    assert {path.name for path in made} == {
        "tokens",
        ".lock",
        "key.pem",
        "issued.json",
        "provisioned.json",
    }
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(65532, 65533)}
    assert mode(tmp_path / "data/tokens") == 0o700


@pytest.mark.parametrize(
    "proxy, message",
    [
        ("web", "'web' names no service account"),
        ("web=shop", "the service account 'shop' of web: NAMESPACE/NAME is wanted"),
        ("web=a/b/c", "the service account 'a/b/c' of web: NAMESPACE/NAME is wanted"),
        ("web=a/", "the service account 'a/' of web: NAMESPACE/NAME is wanted"),
        ("=a/b", "the name '' may hold"),
        ("../web=a/b", "the name '../web' may hold"),
        ("web~1=a/b", "the name 'web~1' may hold"),
        (f"{'w' * 254}=a/b", "may hold letters"),
        ("web=a/b,gateway", "'gateway' of web is neither 'router' nor LABEL=VALUE"),
        ("web=a/b,=x", "'=x' of web is neither 'router' nor LABEL=VALUE"),
        ("web=a/b,", "'' of web is neither 'router' nor LABEL=VALUE"),
        ("web=a/b,app=x,app=y", "the label 'app' of web is there twice"),
    ],
)
def test_a_proxy_that_makes_no_sense_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], proxy: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        provision(tmp_path, proxy)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"argument --proxy: '{proxy}' cannot be used: " in said and message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "proxies, more, message",
    [
        ((REVIEWS, REVIEWS), (), "--proxy: 'reviews-v1' is there twice; each proxy has a name of its own"),
        (("web=A/b",), (), "--proxy web: A/b is no service account's name"),
        ((REVIEWS,), ("--seen-at", "here"), "--seen-at: 'here' cannot be used; allowed is an absolute path"),
        ((REVIEWS,), ("--root-file", "r"), "--root-file: 'r' cannot be used; allowed is an absolute path"),
        ((REVIEWS,), ("--out", "/dev/null"), "--out: '/dev/null/reviews-v1' cannot be used: Not a directory"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    proxies: tuple[str, ...],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert provision(tmp_path, *proxies, more=more) == 2
    assert capsys.readouterr().err.strip() == f"mini-istiod: {message}"


@pytest.mark.parametrize(
    "words, message",
    [
        (("--owner", "envoy"), "--owner: 'envoy' cannot be used: UID:GID is wanted, such as 1337:1337"),
        (("--ttl", "0"), "--ttl: '0' cannot be used: it must be above 0"),
        (("--ttl", "99999999h"), "a hundred years, is the longest"),
        (("--xds-address", ":15012"), "':15012' cannot be used: a host and a port are wanted"),
    ],
)
def test_flags_that_make_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit):
        provision(tmp_path, REVIEWS, more=words)
    assert message in capsys.readouterr().err


@ROOT
def test_who_is_not_root_is_told_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Loads what that user may not be able to.
    assert provision(tmp_path / "before", REVIEWS) == 0
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:3]:
        # More than it has, never less: the last of them is everybody's /tmp.
        folder.chmod(folder.stat().st_mode & 0o7777 | 0o055)
    os.setegid(65533)
    os.seteuid(65532)
    try:
        assert provision(tmp_path, REVIEWS, owner="1337:1337") == 2
    finally:
        os.seteuid(0)
        os.setegid(0)
    said = capsys.readouterr().err
    assert "--owner: user 65532 cannot give a token to user 1337: run as root with CAP_CHOWN" in said
    assert "--owner 65532:65533" in said
    assert {path.name for path in tmp_path.iterdir()} == {"before"}


@ROOT
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_root_without_the_capability_is_told_which(tmp_path: Path) -> None:
    words = [
        "--data-dir",
        f"{tmp_path}/data",
        "--out",
        f"{tmp_path}/out",
        "--seen-at",
        "/x",
        "--proxy",
        REVIEWS,
    ]
    words += ["--xds-address", "m:1", "--root-file", "/x"]
    command = ["setpriv", "--bounding-set=-chown", sys.executable, "-m", "controlplane", "provision", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = "cannot be written: Operation not permitted (to give it to user 1337 takes the capability CHOWN)"
    assert said in done.stderr
    assert not list((tmp_path / "out/reviews-v1").iterdir())
