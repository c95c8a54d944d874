"""One run: a control plane, real Envoys in pods, requests through all of them, one change after the other.

The Envoys are sidecars in network namespaces of their own; one server stands behind all addresses of
a synthetic mesh and says at which it was reached.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import effective_rows, effective_warm, fabric
from controlplane.lab.child import Child, child
from controlplane.lab.churn.apply import Directory
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.effective_probe import Sample, main
from controlplane.lab.effective_rows import Effective, Window
from controlplane.lab.effective_schedule import KINDS, NETWORKS, Schedule, Step, schedule
from controlplane.lab.latency import dataset, pushlog
from controlplane.lab.ledger import end, entry_of
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pod_spec import App, PodSpec, Sidecar
from controlplane.lab.pods import Lab, Pod
from controlplane.lab.processes import cpu_seconds

_ANSWERS = Path(__file__).parent / "effective_answers.py"
_LEAD = 0.3
"""Seconds of asking before a change."""
_AFTER = 0.3
"""Seconds of asking after the last proxy shows it, so that a relapse is seen."""
_LOOK = 0.05


class EffectiveError(MiniIstiodError):
    """The measurement could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """`rate`: requests a second through each Envoy; `patience`: seconds until a change counts as lost."""

    envoys: int = 20
    services: int = 100
    changes: int = 30
    interval: float = 1.5
    rate: float = 100.0
    seed: int = 1
    protocol: Literal["GRPC", "DELTA_GRPC"] = "DELTA_GRPC"
    kinds: tuple[str, ...] = KINDS
    flags: tuple[str, ...] = ()
    patience: float = 10.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or not self.kinds:
            raise EffectiveError(
                f"kinds of changes are {', '.join(KINDS)}, not {', '.join(unknown) or 'none'}"
            )
        if min(self.envoys, self.changes, self.rate) <= 0 or self.services < 2:
            raise EffectiveError("there have to be an Envoy, a change, a rate and two services at least")

    @property
    def mesh(self) -> Mesh:
        # One endpoint each: a single answer then tells what the proxy knows.
        return Mesh(services=self.services, endpoints=1, namespaces=10, dialect="serviceentry")


@dataclass(slots=True)
class Found:
    """What a run collects; `samples` by change, `warm` by change and proxy."""

    windows: list[Window] = field(default_factory=list)
    changes: list[dataset.Change] = field(default_factory=list)
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    warm: dict[tuple[int, str], float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    log: pushlog.PushLog = field(default_factory=pushlog.PushLog)


def measure(lab: Lab, setup: Setup, log: Path) -> tuple[list[Effective], Found]:
    """Run it in an open lab; `log` is where the server notes its pushes."""
    made = schedule(setup.mesh, setup.changes, setup.interval, setup.seed, setup.kinds)
    plane = start_plane(lab.site, ("--push-log", str(log), "--drain-duration", "0s", *setup.flags))
    directory = Directory(plane.config)
    directory.fill(made.workload.initial, pause=0.0)
    plane.wait_ready()
    pods = _start(lab, plane, setup, made)
    spaces = tuple(pod.netns for pod in pods)
    with child("prober", main, spaces, setup.rate) as prober:
        run = _Run(setup, directory, pods, prober)
        for step in made.steps:
            plane.check()
            run.step(step)
        found = run.found
        found.spent = run.spent(lab.pods["answers"], plane)
    directory.close()
    _end(plane)
    found.log = pushlog.read(log)
    proxies = [proxy_name(pod) for pod in pods]
    return effective_rows.rows(found.windows, proxies, found.samples, found.warm, found.log), found


def _start(lab: Lab, plane: Plane, setup: Setup, made: Schedule) -> list[Pod]:
    port = made.steps[0].target.port
    app = App(_ANSWERS, (str(port),), port=port)
    answers = lab.start(PodSpec("answers", "backends", fabric.pod_address(0), app=app), None)
    lab.lead(answers, NETWORKS)
    sidecar = Sidecar(plane.address, setup.protocol, effective_warm.kept(made.hosts))
    pods = []
    for number in range(setup.envoys):
        namespace = setup.mesh.namespace(number)
        address = fabric.pod_address(number + 1)
        pods.append(lab.start(PodSpec(f"asker-{number}", namespace, address, {"app": "asker"}), sidecar))
    lab.wait_ready(60.0)
    return pods


def _end(plane: Plane) -> None:
    """End the server well, so that its log is whole."""
    entry = entry_of(plane.process.pid, "control-plane")
    if entry is not None and end([entry], grace=15.0):
        raise EffectiveError("the control plane did not end in time: its log is cut off")
    plane.process.wait()


class _Run:
    """The changes of one run; `found` grows with each."""

    def __init__(self, setup: Setup, directory: Directory, pods: Sequence[Pod], prober: Child) -> None:
        self.found = Found()
        self._setup, self._directory, self._pods, self._prober = setup, directory, pods, prober
        self._begin = time.monotonic()
        self._cpu = [cpu_seconds(pod.processes["envoy"].pid) for pod in pods]

    def step(self, step: Step) -> None:
        """Make one change and look at it until every proxy shows it."""
        number = step.edit.number
        publish = self._directory.ready(step.edit.raw)
        _sleep_until(self._begin + step.at - _LEAD)
        asking = time.monotonic()
        self._prober.ask("watch", target=step.target, host=step.host)
        _sleep_until(max(self._begin + step.at, asking + _LEAD))
        at = publish()
        samples = self._until_effective(step, at)
        time.sleep(_AFTER)
        samples += [Sample(*one) for one in self._prober.ask("stop")]
        with ThreadPoolExecutor(4) as readers:
            looks = readers.map(effective_warm.look, [pod.admin for pod in self._pods])
            for pod, (stats, epoch) in zip(self._pods, looks, strict=True):
                if (moment := effective_warm.warm(stats, epoch, at)) is not None:
                    self.found.warm[number, proxy_name(pod)] = moment
        self.found.samples[number] = samples
        self.found.windows.append(Window(number, step.kind, at, time.monotonic()))
        self.found.changes.append(dataset.Change(number, *step.edit.key, step.edit.action, step.at, at))

    def spent(self, answers: Pod, plane: Plane) -> dict[str, float]:
        """Seconds of CPU since the start of the run, by who used them; Envoys together."""
        used = [cpu_seconds(pod.processes["envoy"].pid) for pod in self._pods]
        return {
            "seconds": time.monotonic() - self._begin,
            "envoys": sum(used) - sum(self._cpu),
            "prober": float(self._prober.ask("cpu")),
            "answers": cpu_seconds(answers.processes["app"].pid),
            "control_plane": cpu_seconds(plane.process.pid),
        }

    def _until_effective(self, step: Step, at: float) -> list[Sample]:
        """Samples until the last one of every proxy shows the change, or patience ends."""
        samples: list[Sample] = []
        while time.monotonic() < at + self._setup.patience:
            time.sleep(_LOOK)
            samples += [Sample(*one) for one in self._prober.ask("samples")]
            last = {sample.proxy: sample for sample in samples}
            if len(last) == len(self._pods) and all(
                effective_rows.shows(sample, step.edit.number, step.kind) for sample in last.values()
            ):
                break
        return samples


def proxy_name(pod: Pod) -> str:
    """The proxy as the server names it."""
    return f"{pod.spec.name}.{pod.spec.namespace}"


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
