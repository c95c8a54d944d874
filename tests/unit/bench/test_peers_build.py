"""Building peers: what is there is left alone, what cannot be built is said loudly and stops nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.peers import build
from bench.peers.build import PROGRAMS, BuildError, Program, banner, build_missing, environment, version


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.9 linux/arm64", (1, 9)),
        ("go version devel go1.27-abc linux/amd64", (1, 27)),
        ("", (0, 0)),
        ("command not found", (0, 0)),
    ],
)
def test_the_version_of_go(said: str, found: tuple[int, int]) -> None:
    assert version(said) == found


def test_go_stays_what_it_is_and_proxies_are_the_users() -> None:
    plain = environment({"GOTOOLCHAIN": "auto", "GOFLAGS": "-mod=mod"})
    assert (plain["GOTOOLCHAIN"], plain["GOFLAGS"], plain["GOSUMDB"]) == ("local", "", "off")
    assert environment({"GOPROXY": "https://mirror.example"})["GOPROXY"] == "https://mirror.example"


def test_every_module_is_pinned() -> None:
    for program in PROGRAMS.values():
        folder = Path(build.__file__).parent / program.module
        assert (folder / "go.mod").is_file(), program
        assert (folder / "go.sum").is_file(), program


def test_a_program_that_cannot_be_built_is_said_and_the_others_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(go: Path, program: Program, folder: Path) -> Path:
        if program.name == "standin":
            raise BuildError("no such module\nat all")
        binary = folder / program.name
        binary.write_bytes(b"x")
        return binary

    monkeypatch.setattr(build, "find_go", lambda say: Path("go"))
    monkeypatch.setattr(build, "build", made)
    said: list[str] = []
    failed = build_missing(["standin", "snapshot"], tmp_path, said.append)
    assert failed == {"standin": "no such module\nat all"}
    assert (tmp_path / "snapshot").is_file()
    assert said[-1] == banner("standin", "no such module\nat all")
    assert "!! standin CANNOT BE BUILT" in said[-1]
    assert "!!   at all" in said[-1]


def test_what_is_there_needs_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "snapshot").write_text("")
    assert build_missing(["snapshot"], tmp_path, lambda said: pytest.fail(said)) == {}


def test_a_failed_build_leaves_nothing_and_tells_what_go_said(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'missing go.sum entry' >&2\nexit 1\n")
    go.chmod(0o755)
    folder = tmp_path / "programs"
    with pytest.raises(BuildError, match=r"go build .*(.|\n)*missing go\.sum entry"):
        build.build(go, PROGRAMS["standin"], folder)
    assert list(folder.iterdir()) == []


def test_a_relative_folder_is_one_of_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho built > "$2"\n')
    go.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    built = build.build(go, PROGRAMS["standin"], Path("programs"))
    assert built == tmp_path / "programs/standin"
    assert built.read_text() == "built\n"
