"""Samples of processes, and the server's own pauses beside them."""

import os
import time

import pytest

from controlplane.lab import environment
from controlplane.lab.latency.dataset import Sample
from controlplane.lab.latency.pushlog import Pause, PushLog
from controlplane.lab.processes import cpu_seconds
from controlplane.lab.sampling import Sampler, look, with_pauses


def test_a_process_is_sampled_until_the_end_of_the_block() -> None:
    with Sampler({"server": (os.getpid(),), "fleet": ()}, every=0.005) as sampler:
        while len(sampler.samples) < 3:
            time.sleep(0.005)
    seen = len(sampler.samples)
    first, *_, last = sampler.samples
    assert {sample.process for sample in sampler.samples} == {"server"}
    assert first.at < last.at and first.cpu <= last.cpu and first.waiting <= last.waiting
    assert first.rss > 1 << 20
    time.sleep(0.02)
    assert len(sampler.samples) == seen


def test_processes_that_are_gone_are_left_out() -> None:
    gone = 2**22 + 1
    assert look("server", (gone,)) is None
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_seconds(gone)
    both, own = look("server", (os.getpid(), gone)), look("server", (os.getpid(),))
    assert both is not None and own is not None
    assert abs(both.rss - own.rss) < own.rss / 2


def test_cpu_is_counted_finer_than_in_ticks() -> None:
    seen = set()
    while len(seen) < 20:
        seen.add(cpu_seconds(os.getpid()))
    assert max(seen) - min(seen) < 19 / os.sysconf("SC_CLK_TCK")


def test_pauses_belong_to_the_sample_after_them_the_longest_counts() -> None:
    log = PushLog(
        pauses=[Pause(1.1, 0.3, None), Pause(1.2, 0.2, None), Pause(1.9, 0.05, "2"), Pause(9.0, 1.0, None)]
    )
    samples = [
        Sample(at, process, 0.0, 1, 0.0, None, None)
        for at, process in ((1.0, "server"), (1.5, "fleet"), (2.0, "server"), (3.0, "server"))
    ]
    found = with_pauses(samples, log)
    assert [(one.lag, one.gc) for one in found] == [(0.0, 0.0), (None, None), (0.3, 0.05), (0.0, 0.0)]


def test_the_machine_is_described_without_its_name() -> None:
    found = environment.describe()
    assert found["cpus"] >= 1 and found["kernel"] and found["versions"]["mini-istiod"]
    assert os.uname().nodename not in map(str, found.values())
