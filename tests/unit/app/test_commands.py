"""The command line: what is printed, and the exit status."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from controlplane import __version__
from controlplane.app.commands import main


def test_a_setting_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert main(["discovery", "--config-dir", str(tmp_path / "nowhere")]) == 2
    assert "--config-dir" in capsys.readouterr().err


def test_plaintext_beyond_this_machine_is_refused(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert main(["discovery", "--config-dir", str(tmp_path), "--grpc-addr", "0.0.0.0:15010"]) == 2
    assert "--insecure-allow-remote" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, told",
    [
        (["relay", "--listen", "bogus", "--upstream", "127.0.0.1:1"], "--listen: 'bogus'"),
        (["relay", "--listen", "127.0.0.1:0", "--upstream", "foo"], "--upstream: 'foo'"),
        (["relay", "--listen", "127.0.0.1:0", "--upstream", "foo:99999"], "--upstream: 'foo:99999'"),
        (["relay", "--listen", "127.0.0.1:0", "--upstream", ":15010"], "--upstream: ':15010'"),
        (["relay", "--listen", ":0", "--upstream", "a:1", "--notice", "-1"], "--notice: '-1'"),
        (["bench", "run", "airbnb", "--seconds", "inf"], "--seconds: 'inf'"),
        (["bench", "run", "airbnb", "--seconds", "nan"], "--seconds: 'nan'"),
        (
            ["bench", "run", "airbnb", "--ack-delay", "5"],
            "--ack-delay: '5' cannot be used: a number with a unit",
        ),
        (["bench", "run", "airbnb", "--proxies", "0"], "--proxies: '0'"),
        (["bench", "effective", "--interval", "-1"], "--interval: '-1'"),
        (["bench", "effective", "--rate", "nan"], "--rate: 'nan'"),
        (["bench", "effective", "--changes", "0"], "--changes: '0'"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    found = capsys.readouterr().err
    assert found.startswith(f"mini-istiod: argument {told}")
    assert found.count("\n") == 1


@pytest.mark.parametrize("command", [["run", "airbnb"], ["sweep", "proxies", "5"], ["effective"]])
def test_what_is_measured_goes_into_a_directory(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    (tmp_path / "file").touch()
    assert main(["bench", *command, "--out", str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert told == f"mini-istiod: --out: '{tmp_path}/file' cannot be used: it is not a directory\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, written = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "controlplane", "bootstrap", "--xds-address", "unix:/x"]
    ended = subprocess.run(
        [*argv, "--ip", "10.0.0.7", "--name", "w"], stdout=written, stderr=subprocess.PIPE, timeout=60
    )
    os.close(written)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    "argv, told",
    [
        (["run", "airbnb", "--set", "pods=0"], "airbnb: option pods=0: a whole number above 0 is wanted"),
        (
            ["run", "airbnb", "--set", "edit=nan"],
            "airbnb: option edit=nan: a number, not negative, is wanted",
        ),
        (["sweep", "churn", "1", "nan"], "sweep churn: 'nan' cannot be used: a number above 0 is wanted"),
    ],
)
def test_a_value_that_cannot_be_measured_is_told_with_its_reason(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *argv]) == 2
    assert capsys.readouterr().err == f"mini-istiod: {told}\n"


def test_a_command_imports_nothing_of_the_others() -> None:
    code = (
        "import sys; from controlplane.app.commands import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sorted({'aiohttp', 'cryptography', 'grpc', 'yaml'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split("\n")[1:] == ["", ""]
