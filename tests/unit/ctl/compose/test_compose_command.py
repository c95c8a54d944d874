"""The command line: what is read, what is written, and several files as one."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from test_compose_cases import CASES, load

from controlplane.ctl.__main__ import main

PLAIN = "services:\n  # The page.\n  web:\n    image: example/web  # old\n    ports: ['8080:80']\n"
PLAIN_THREE = "services:\n" + "".join(f"  {name}: {{image: a}}\n" for name in ("web", "db", "api"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docker-compose.yml").write_text(PLAIN)
    return tmp_path


def run(*words: str) -> int:
    return main(["compose", "mesh", *words])


def services(text: str) -> dict[str, Any]:
    found: dict[str, Any] = load(text)["services"]
    return found


def test_printed_written_and_undone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    printed = capsys.readouterr().out
    assert run("-f", "docker-compose.yml", "-o", "mesh.yml") == 0
    assert (folder / "mesh.yml").read_text() == printed
    assert run("-f", "mesh.yml", "--remove") == 0
    assert capsys.readouterr() == (PLAIN, "")
    assert sorted(one.name for one in folder.iterdir()) == ["docker-compose.yml", "mesh.yml"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PLAIN))
    assert run("-f", "-", "--gateway", "--scale", "web=2") == 0
    assert {"web-2", "ingressgateway"} <= services(capsys.readouterr().out).keys()


def test_a_device_is_written_to_and_a_link_is_followed(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("-o", "pipe") == 0
        assert os.read(reader, 65536).startswith(b"x-mini-istiod:")
    finally:
        os.close(reader)
    assert (folder / "pipe").is_fifo()
    (folder / "link.yml").symlink_to("mesh.yml")
    assert run("-o", "link.yml") == 0
    assert (folder / "link.yml").is_symlink() and services((folder / "mesh.yml").read_text())


def test_a_difference_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--diff", "-o", "mesh.yml") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["--- docker-compose.yml", "+++ docker-compose.yml (meshed)"]
    # Of the user's lines one has gone: its key has another name now.
    assert [line for line in lines if line.startswith("-")][1:] == ["-    ports: ['8080:80']"]
    assert "+    x-mini-istiod-ports: ['8080:80']" in lines
    assert not (folder / "mesh.yml").exists()


def test_pairs_that_are_taken_back_leave_by_three_commands(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    (folder / "docker-compose.yml").write_text("name: Shop\n" + PLAIN)
    assert run("--scale", "web=3", "--gateway", "-o", "mesh.yml") == 0
    assert "docker stop" not in capsys.readouterr().err
    assert run("-f", "mesh.yml", "--scale", "web=1", "--diff") == 0
    assert "docker stop" not in capsys.readouterr().err
    assert run("-f", "mesh.yml", "--scale", "web=1", "--no-gateway", "-o", "back.yml") == 0
    told = capsys.readouterr().err
    assert told.startswith("mini-istioctl: mesh.yml: web-2, web-3: taken back.")
    assert told.splitlines()[-3:] == [
        "  docker stop -t 5 $(docker ps -q -f volume=shop_web-2-proxy -f volume=shop_web-3-proxy)",
        "  docker-compose -f back.yml up -d --remove-orphans",
        "  docker volume rm shop_web-2-proxy shop_web-3-proxy",
    ]
    # The environment is stronger than the file, as it is for Compose.
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "other")
    assert run("-f", "mesh.yml", "--scale", "web=2", "-o", "two.yml") == 0
    assert "docker volume rm other_web-3-proxy\n" in capsys.readouterr().err


class TestAgain:
    """A plain file meshed again into the file that this wrote: what was chosen goes on."""

    KEPT = (
        "mini-istioctl: docker-compose.yml: as mesh.yml was written before: "
        "{} (what you say instead counts)\n"
    )

    @pytest.fixture(autouse=True)
    def before(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "docker-compose.yml").write_text(PLAIN_THREE)
        flags = ("--gateway", "--scale", "web=2", "--exclude", "db", "--mesh-dir", "./a b")
        assert run(*flags, "-o", "mesh.yml") == 0
        capsys.readouterr()

    def test_with_a_note(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = (folder / "mesh.yml").read_text()
        assert run("-o", "mesh.yml") == 0
        assert (folder / "mesh.yml").read_text() == before
        wanted = "--mesh-dir './a b' --exclude db --gateway --scale web=2"
        assert capsys.readouterr().err == self.KEPT.format(wanted)
        # The meshed file itself keeps them without a word, and printed is what nobody chose.
        assert run("-f", "mesh.yml", "-o", "mesh.yml") == 0
        assert capsys.readouterr().err == ""
        assert run() == 0
        assert "web-2" not in services(capsys.readouterr().out)

    def test_what_is_said_counts(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("--no-gateway", "--exclude", "", "--scale", "api=2", "--mesh-dir", "./mesh")
        assert run(*words, "-o", "mesh.yml") == 0
        assert capsys.readouterr().err == self.KEPT.format("--scale web=2")
        found = services((folder / "mesh.yml").read_text())
        assert {"web-2", "api-2", "db-envoy"} <= found.keys() and "ingressgateway" not in found
        # Pairs that are taken back are told of as those of a meshed file are.
        assert run("--scale", "web=1", "-o", "mesh.yml") == 0
        assert "web-2: taken back" in capsys.readouterr().err

    def test_what_is_gone_is_forgotten(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "docker-compose.yml").write_text("services:\n  api: {image: a}\n")
        assert run("-o", "mesh.yml") == 0
        err = capsys.readouterr().err
        assert err.startswith(self.KEPT.format("--mesh-dir './a b' --gateway"))
        assert "ingressgateway" in services((folder / "mesh.yml").read_text())

    def test_only_whom_is_asked(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--only", "db", "--exclude", "", "--scale", "web=1", "-o", "mesh.yml") == 0
        (folder / "docker-compose.yml").write_text("services:\n  api: {image: a}\n")
        capsys.readouterr()
        assert run("-o", "mesh.yml") == 2
        assert "mesh.yml: written with --only db, which is gone" in capsys.readouterr().err
        assert run("--only", "api", "-o", "mesh.yml") == 0

    def test_a_change_by_hand_is_told(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = (folder / "mesh.yml").read_text()
        (folder / "mesh.yml").write_text(text.replace("timeout: 15s", "timeout: 16s"))
        assert run("-o", "mesh.yml") == 0
        assert "mesh.yml: what this command writes was changed by hand" in capsys.readouterr().err
        assert (folder / "mesh.yml").read_text() == text

    @pytest.mark.parametrize("content", ["", "a: [", "services: {}\n", "\udcff"])
    def test_what_is_no_meshed_file_is_replaced(
        self, folder: Path, capsys: pytest.CaptureFixture[str], content: str
    ) -> None:
        (folder / "mesh.yml").write_bytes(content.encode(errors="surrogateescape"))
        assert run("-o", "mesh.yml") == 0
        assert capsys.readouterr().err == ""
        assert "web-2" not in services((folder / "mesh.yml").read_text())

    def test_a_record_that_cannot_be_read(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = (folder / "mesh.yml").read_text()
        (folder / "mesh.yml").write_text(text.replace("scale: {web: 2}", "scale: {web: many}"))
        assert run("-o", "mesh.yml") == 2
        assert "mini-istioctl: mesh.yml: x-mini-istiod.scale: cannot be used" in capsys.readouterr().err


def test_a_service_that_leaves_the_mesh_is_no_pair(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "docker-compose.yml").write_text(PLAIN + "  db: {image: a}\n")
    assert run("-o", "mesh.yml") == 0
    assert run("-f", "mesh.yml", "--exclude", "db", "-o", "mesh.yml") == 0
    assert "taken back" not in capsys.readouterr().err


def test_what_is_to_be_known_is_on_standard_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "docker-compose.yml").write_text(PLAIN + "  probe: {image: a, network_mode: host}\n")
    assert run() == 0
    told = capsys.readouterr().err
    assert told.startswith("mini-istioctl: docker-compose.yml: services.probe.network_mode: host: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-f", "none.yml"], "-f: none.yml: No such file or directory"),
        (["-o", "none/mesh.yml"], "-o: none/mesh.yml: No such file or directory"),
        (["-o", "/"], "-o: /: Is a directory"),
        (["--scale", "api=2"], "--scale: there is no service 'api'; there are web"),
        (["--remove"], "it was not written by `mini-istioctl compose mesh`"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err and told.err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["--scale", "web"], ["--scale", "web=0"], ["--scale", "web=100"], ["--scale", "=2"]]
)
def test_a_scale_is_a_number_of_pairs(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    assert "cannot be used" in capsys.readouterr().err


def test_there_is_nothing_to_mesh_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == 2
    assert "there is no docker-compose.yml" in capsys.readouterr().err


OVER = """
services:
  web:
    environment: {A: b}
    ports: ["8443:443"]
  api:
    image: example/api
    networks: [back]
networks:
  back:
volumes:
  data: {labels: {keep: "yes"}}
"""


def test_later_files_are_laid_over_the_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "over.yml").write_text(OVER)
    assert run("-f", "docker-compose.yml", "-f", "over.yml") == 0
    out = capsys.readouterr().out
    found = services(out)
    assert found["web"]["environment"] == {"A": "b"}
    assert found["web-envoy"]["ports"] == ["8080:80", "8443:443"]
    assert found["api-envoy"]["networks"] == {"back": {"aliases": ["api"]}}
    assert load(out)["volumes"]["data"] == {"labels": {"keep": "yes"}}
    assert "  # The page.\n" in out
    (folder / "mesh.yml").write_text(out)
    assert run("-f", "mesh.yml") == 0
    assert capsys.readouterr().out == out
    assert run("-f", "mesh.yml", "--remove") == 0
    assert services(capsys.readouterr().out).keys() == {"web", "api"}


def test_the_override_is_found_as_compose_finds_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "docker-compose.override.yml").write_text(OVER)
    assert run() == 0
    assert "api-envoy" in services(capsys.readouterr().out)
    # Whoever names files has named all of them.
    assert run("-f", "docker-compose.yml") == 0
    assert "api-envoy" not in services(capsys.readouterr().out)


@pytest.mark.parametrize(
    "name", ["health.yaml", "versions.yml", "odd.yml", "braces.json", "flow.yml", "hosts.yml"]
)
def test_a_file_of_any_shape_takes_another(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "over.yml").write_text(OVER)
    assert run("-f", str(CASES / name), "-f", str(tmp_path / "over.yml")) == 0
    out = capsys.readouterr().out
    assert {"api-envoy", "web-envoy"} <= services(out).keys()
    assert "back" in load(out)["networks"]
    before = services((CASES / name).read_text())
    for one in before.keys() - {"web", "api"}:
        assert services(out)[one].get("image") == before[one].get("image")


def test_what_cannot_be_laid_over_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "reset.yml").write_text("services: {web: {ports: !reset []}}")
    assert run("-f", "docker-compose.yml", "-f", "reset.yml") == 2
    assert "services.web.ports: !reset is not understood" in capsys.readouterr().err
    (folder / "anchor.yml").write_text(
        "services:\n  web: &w\n    image: a\n  b:\n    <<: *w\n    ports: ['80']\n"
    )
    (folder / "over.yml").write_text("services: {web: {user: root}}")
    assert run("-f", "anchor.yml", "-f", "over.yml") == 2
    assert "services: a later file changes what an anchor stands in" in capsys.readouterr().err
    assert run("-o", "mesh.yml") == 0
    assert run("-f", "mesh.yml", "-f", "over.yml") == 2
    assert "mesh.yml: it is meshed already" in capsys.readouterr().err
