"""`mini-istiod token`: what it prints, what it writes, and how it tells mistakes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.commands import main
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import AUDIENCE, Account


def judged(data: Path, token: str, audience: str = AUDIENCE) -> Account:
    return TokenStore(data).issuer.judge(token, audience, time.time())


def run(capsys: pytest.CaptureFixture[str], data: Path, *argv: str, status: int = 0) -> str:
    command, *rest = argv
    assert main(["token", command, "--data-dir", str(data), *rest]) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


def listed(capsys: pytest.CaptureFixture[str], data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(capsys, data, "list", "--json").splitlines()]


def test_a_token_is_printed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, tmp_path, "create", "--sa", "prod/web", "--ttl", "1h30m")
    assert out.count("\n") == 1
    account = judged(tmp_path, out.strip())
    assert (account.path, account.expires - account.issued, account.pod) == ("prod/web", 5400.0, "")


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    data, out = tmp_path / "data", str(tmp_path / "pipe")
    said = run(capsys, data, "create", "--sa", "prod/web", "--out", out, status=2)
    assert said.endswith(f"mini-istiod: {out}: cannot be written: it is no file\n")
    assert (tmp_path / "pipe").is_fifo()


def test_it_may_be_for_a_pod_and_for_somebody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(capsys, tmp_path, "create", "--sa", "prod/web", "--pod", "web-1", "--audience", "debug")
    assert judged(tmp_path, out.strip(), "debug").pod == "web-1"


def test_a_file_is_its_owners_alone_and_its_token_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "web.token"
    assert run(capsys, tmp_path, "create", "--sa", "prod/web", "--out", str(out)) == ""
    first = out.read_text()
    assert judged(tmp_path, first).path == "prod/web"
    assert out.stat().st_mode & 0o777 == 0o600
    assert not first.endswith("\n")
    # Another one in its place is for the same readers; whoever watches the folder sees a rename.
    out.chmod(0o640)
    inode = out.stat().st_ino
    run(capsys, tmp_path, "create", "--sa", "prod/web", "--out", str(out))
    assert (out.stat().st_mode & 0o777, out.stat().st_ino == inode) == (0o640, False)
    assert out.read_text() != first


def test_a_key_that_is_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for told in (True, False):
        assert main(["token", "create", "--data-dir", str(tmp_path / "data"), "--sa", "prod/web"]) == 0
        found = capsys.readouterr()
        assert found.out.count("\n") == 1
        assert (f"there was no key for tokens in {tmp_path / 'data'}, and one is made" in found.err) is told


def test_what_is_revoked_is_listed_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("prod/web", "prod/web", "prod/db"):
        run(capsys, tmp_path, "create", "--sa", name)
    first, second, third = listed(capsys, tmp_path)
    assert [one["account"] for one in (first, second, third)] == ["prod/web", "prod/web", "prod/db"]
    run(capsys, tmp_path, "revoke", first["id"])
    assert [one["revoked"] for one in listed(capsys, tmp_path)] == [True, False, False]
    run(capsys, tmp_path, "revoke", "--sa", "prod/web")
    assert [one["revoked"] for one in listed(capsys, tmp_path)] == [True, True, False]
    text = run(capsys, tmp_path, "list").splitlines()
    assert text[1] == f"{second['id']}  prod/web  revoked"
    assert text[2].startswith(f"{third['id']}  prod/db  until 20")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["create", "--sa", "web"], "NAMESPACE/NAME is wanted"),
        (["create", "--sa", "a/b/c"], "NAMESPACE/NAME is wanted"),
        (["create", "--sa", "prod/web", "--ttl", "0"], "above 0"),
        (["create", "--sa", "prod/web", "--ttl", "soon"], "a number with a unit"),
        (["create", "--sa", "prod/web", "--ttl", "99999999h"], "a hundred years"),
        (["create"], "--sa"),
        (["revoke"], "--sa"),
        (["revoke", "x", "--sa", "a/b"], "not allowed with"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    command, *rest = argv
    with pytest.raises(SystemExit) as ended:
        main(["token", command, "--data-dir", str(tmp_path), *rest])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_name_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no service account" in run(capsys, tmp_path, "create", "--sa", "Prod/Web", status=2)


def test_a_slip_of_the_hand_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["list"], ["revoke", "x"], ["revoke", "--sa", "prod/web"]):
        assert "no token was ever issued" in run(capsys, tmp_path / "typo", *argv, status=2)
    assert not (tmp_path / "typo").exists()
    run(capsys, tmp_path, "create", "--sa", "prod/web")
    assert "no token 'x' was issued here" in run(capsys, tmp_path, "revoke", "x", status=2)


def test_another_key_signs_and_what_was_issued_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run(capsys, tmp_path, "create", "--sa", "prod/web").strip()
    before = TokenStore(tmp_path).issuer.kid
    assert main(["token", "rotate-key", "--data-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    now = TokenStore(tmp_path).issuer.kid
    assert now != before and f"{now} signs from now on" in told
    assert "tokens of old keys that hold still: 1; the last expires at" in told
    assert judged(tmp_path, old).path == "prod/web"
    assert judged(tmp_path, run(capsys, tmp_path, "create", "--sa", "prod/web").strip()).path == "prod/web"


def test_there_must_be_a_key_to_replace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no token was ever issued" in run(capsys, tmp_path, "rotate-key", status=2)
