"""The plots of docs/performance.md, in the style of the lab's reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from controlplane.lab.report.style import GREY, OURS, SERIES, THEIRS, cumulative, figure

_ARMS = {"plane": "mini-istiod", "loop": "bare gRPC, one by one", "burst": "bare gRPC, all at once"}


def publish(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what there are results for; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = results["cases"]
    made = []
    if "fanout" in cases:
        made.append(_fanout(cases["fanout"][0], folder / "bench-fanout.svg"))
    if "spine" in cases:
        made.append(_slope(cases["spine"]["slope"], folder / "bench-slope.svg"))
        made.append(_cold(cases["spine"]["slope"], folder / "bench-cold.svg"))
    if "memory" in cases:
        made.append(_memory(cases["memory"], folder / "bench-memory.svg"))
    if "storm" in cases:
        made.append(_storm(cases["storm"], folder / "bench-storm.svg"))
    return made


def _fanout(run: dict[str, Any], path: Path) -> Path:
    with figure(path, columns=2) as axes:
        for axis, (name, case) in zip(axes, run["cases"].items(), strict=True):
            for (arm, label), color in zip(_ARMS.items(), SERIES, strict=False):
                cumulative(axis, case[arm]["curve"], color, label)
            size = case["bytes"] / case["responses"]
            axis.set_title(f"one {name} change, {_bytes(size)} each", fontsize=10)
            axis.set_xlabel(f"ms until a proxy has it ({run['proxies']} proxies)")
            axis.set_ylabel("share of proxies")
            axis.set_xlim(left=0)
            axis.legend()
    return path


def _bytes(size: float) -> str:
    return f"{size:.0f} B" if size < 2000 else f"{size / 1000:.0f} kB"


def _slope(rows: list[dict[str, Any]], path: Path) -> Path:
    services = [row["cold"]["services"] for row in rows]
    settled = [row["endpoint"]["settled"] for row in rows]
    with figure(path) as (axis,):
        middle = [one["p50"] for one in settled]
        axis.fill_between(
            services, [one["min"] for one in settled], [one["p90"] for one in settled], color=OURS, alpha=0.2
        )
        axis.plot(services, middle, marker="o", color=OURS, label="median; band: least to p90")
        axis.axhline(2 * middle[0], color=THEIRS, linestyle="--", label="twice the smallest mesh")
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("services")
        axis.set_ylabel("ms, endpoint change to bytes")
        axis.legend()
    return path


def _cold(rows: list[dict[str, Any]], path: Path) -> Path:
    services = [row["cold"]["services"] for row in rows]
    with figure(path) as (axis,):
        axis.plot(services, [row["cold"]["cpu"] for row in rows], marker="o", color=OURS)
        axis.set_xlabel(f"services ({rows[0]['cold']['scopes']} scopes)")
        axis.set_ylabel("CPU seconds of a cold build")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
    return path


def _memory(found: dict[str, Any], path: Path) -> Path:
    with figure(path) as (axis,):
        for color, (name, steps) in zip(SERIES, found["namespaces"].items(), strict=False):
            # The last is a measurement of its own: all came back after a restart.
            proxies = [step["proxies"] for step in steps[:-1]]
            rss = [step["rss"] for step in steps[:-1]]
            axis.plot(proxies, rss, marker="o", color=color, label=f"{name} namespaces")
        axis.axhline(400, color=GREY, linestyle="--", label="target")
        axis.set_xlabel("connected proxies, 1000 services")
        axis.set_ylabel("RSS, MB")
        axis.set_ylim(bottom=0)
        axis.legend()
    return path


def _storm(found: dict[str, Any], path: Path) -> Path:
    with figure(path) as (axis,):
        for color, (name, one) in zip(SERIES, found["storms"].items(), strict=False):
            cumulative(axis, one["curve"], color, name)
        axis.set_xlabel(f"seconds since {found['proxies']} proxies connected at once")
        axis.set_ylabel("share of proxies that are warm")
        axis.set_xlim(left=0)
        axis.legend()
    return path
