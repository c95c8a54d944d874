"""Programs that are run to their end, and the ports that servers are given."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from controlplane.lab.ports import free_port
from controlplane.lab.programs import ProgramFailed, run


def test_what_it_wrote_where_it_ran_and_what_it_knew(tmp_path: Path) -> None:
    text = run("sh", "-c", 'pwd; echo "$ADDED"; echo aside >&2', env={"ADDED": "yes"}, cwd=tmp_path)
    assert text.splitlines() == [str(tmp_path), "yes"]


def test_a_failure_tells_the_command_and_the_end_of_what_was_said() -> None:
    with pytest.raises(ProgramFailed) as failed:
        run("sh", "-c", "seq 100; echo no such thing >&2; exit 3")
    assert failed.value.status == 3
    assert failed.value.output.startswith("1\n2\n")
    first, *told = str(failed.value).splitlines()
    assert first == "`sh -c seq 100; echo no such thing >&2; exit 3` ended with status 3:"
    assert told == [*map(str, range(62, 101)), "no such thing"]


def test_who_takes_too_long_is_ended_and_what_was_said_is_kept() -> None:
    with pytest.raises(ProgramFailed, match=r"took too long:\nbegun$") as failed:
        run("sh", "-c", "echo begun; exec sleep 60", timeout=0.5)
    assert failed.value.status is None


def test_a_port_is_the_wanted_one_or_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port
