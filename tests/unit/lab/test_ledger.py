"""Which processes the lab ends: its own, and never one that got the pid of an ended one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.lab import ledger

SLEEP = "import time; time.sleep(60)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", SLEEP])
    yield process
    process.kill()
    process.wait()


def test_an_entry_survives_the_file(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    entry = ledger.entry_of(child.pid, "child")
    assert entry is not None
    ledger.append(tmp_path / "ledger", entry)
    ledger.append(tmp_path / "ledger", replace(entry, name="again"))
    assert [found.name for found in ledger.read(tmp_path / "ledger")] == ["child", "again"]
    assert ledger.read(tmp_path / "ledger")[0] == entry


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "absent") == ()


def test_a_line_cut_off_by_a_crash_costs_only_itself(tmp_path: Path) -> None:
    entry = ledger.Entry(1, 2, "boot", "whole")
    ledger.append(tmp_path / "ledger", entry)
    with (tmp_path / "ledger").open("a") as out:
        out.write('{"pid": 12, "sta')
    assert ledger.read(tmp_path / "ledger") == (entry,)


def test_a_recorded_process_is_ended(child: subprocess.Popen[bytes]) -> None:
    entry = ledger.entry_of(child.pid, "child")
    assert entry is not None
    assert ledger.end([entry], grace=5.0) == ()
    assert child.wait() == -15


def test_one_that_does_not_listen_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", DEAF], stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        entry = ledger.entry_of(deaf.pid, "deaf")
        assert entry is not None
        assert ledger.end([entry], grace=0.1) == (entry,)
        assert deaf.wait() == -9


@pytest.mark.parametrize("field", ["start", "boot"])
def test_a_foreign_process_with_a_recorded_pid_is_spared(child: subprocess.Popen[bytes], field: str) -> None:
    entry = ledger.entry_of(child.pid, "child")
    assert entry is not None
    stale = (
        replace(entry, start=entry.start - 1) if field == "start" else replace(entry, boot="an earlier one")
    )
    assert ledger.end([stale], grace=0.1) == ()
    assert child.poll() is None


def test_an_ended_process_is_passed_over() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as short:
        entry = ledger.entry_of(short.pid, "short")
    assert ledger.entry_of(short.pid, "short") is None
    assert entry is None or ledger.end([entry], grace=0.1) == ()
