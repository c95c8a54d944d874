"""Servers under test: control planes that are started on a directory and watched from outside.

    mini-istiod   this one
    istiod-api    istiod, given the directory's objects by the watches of a stand-in Kubernetes API
    istiod-files  istiod, reading the directory itself
    snapshot      the simplest control plane on go-control-plane

All of them serve plaintext xDS on a loopback port and /metrics beside it; what they are told is told in one
`Options`, so that nobody wins by a default.  The programs are found by `subjects_programs`.

A source of its own may make a server wait: istiod's file source takes up changes a fixed time
after the first of them, whatever the debounce time is.  `fixed_wait` says how long, so that results can
be told with it and without it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controlplane.lab.subjects_istiod import IstiodApi, IstiodFiles
from controlplane.lab.subjects_options import Options, milliseconds
from controlplane.lab.subjects_programs import find
from controlplane.lab.subjects_running import Line, Running, free_ports

__all__ = ["BY_NAME", "MiniIstiod", "Options", "Running", "Snapshot", "Subject"]


class Subject(Protocol):
    """A server that can be started."""

    @property
    def name(self) -> str: ...

    @property
    def fixed_wait(self) -> float:
        """Seconds that a change waits before debounce begins, which no option changes."""

    @property
    def silent_when_current(self) -> bool:
        """Whether an incremental proxy that comes back with everything is not answered at all."""

    def start(self, config_dir: Path, options: Options) -> Running:
        """Start it on a directory, which may be filled before or after; does not wait (`Running.wait_ready`).

        EnvironmentUnfit when its program is not there.
        """


@dataclass(frozen=True, slots=True)
class MiniIstiod:
    """This control plane, by its command line."""

    name: str = "mini-istiod"
    fixed_wait: float = 0.0
    silent_when_current: bool = False

    def start(self, config_dir: Path, options: Options) -> Running:
        xds, monitoring = free_ports(2)
        flags = (
            *("--config-dir", str(config_dir.resolve())),
            *("--grpc-addr", f"127.0.0.1:{xds}"),
            *("--monitoring-addr", f"127.0.0.1:{monitoring}"),
            *("--debounce-after", milliseconds(options.debounce_after)),
            *("--debounce-max", milliseconds(options.debounce_max)),
            *("--eds-debounce", str(options.eds_debounce).lower()),
            *("--max-connection-age", "0"),
            *("--drain-duration", "0s"),
            *("--log-level", "warning"),
            *_given("--push-throttle", options.push_throttle),
            *_given("--max-requests-per-second", options.max_requests_per_second),
            *(("--push-log", str(options.push_log)) if options.push_log else ()),
            *options.arguments,
        )
        line = Line("mini-istiod", (sys.executable, "-m", "controlplane", "discovery", *flags), options.env)
        return Running(options.folder_for(config_dir, self.name), line, xds, monitoring).start()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """go-control-plane's snapshot cache: no throttles, no rules; everything for everyone."""

    name: str = "snapshot"
    fixed_wait: float = 0.0
    silent_when_current: bool = True

    def start(self, config_dir: Path, options: Options) -> Running:
        xds, monitoring = free_ports(2)
        argv = (
            str(find("snapshot", options.env)),
            *("-config-dir", str(config_dir.resolve())),
            *("-grpc-addr", f"127.0.0.1:{xds}"),
            *("-monitoring-addr", f"127.0.0.1:{monitoring}"),
            *("-debounce-after", milliseconds(options.debounce_after)),
            *("-debounce-max", milliseconds(options.debounce_max)),
            *options.arguments,
        )
        line = Line("snapshot", argv, options.env)
        return Running(options.folder_for(config_dir, self.name), line, xds, monitoring).start()


def _given(flag: str, value: float | None) -> tuple[str, ...]:
    return () if value is None else (flag, f"{value:g}")


BY_NAME: Mapping[str, Subject] = {
    one.name: one for one in (MiniIstiod(), IstiodApi(), IstiodFiles(), Snapshot())
}
