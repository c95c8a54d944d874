"""The results as tables: for a terminal, and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench import containers, fanout, networking
from bench.figures import Summary, table

_TIMES = ("p50", "p90", "p99", "max")
_MEASURED = {"told": "each proxy told", "last_ack": "last ACK", "cpu": "server CPU"}


def tables(results: dict[str, Any], quick: bool = False) -> Iterator[str]:
    """One block of text per table, in the order of the cases; the targets do not count when `quick`."""
    machine = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    yield (
        f"{machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {packages}; load before the run {machine['load']:.1f}"
    )
    against, target = ("Against the targets", "target")
    if quick:
        against = "A small run (the targets are for the full size and do not count here)"
        target = "target at full size"
    yield _title(against, table(("what", target, "measured"), _targets(results["cases"])))
    writers: dict[str, Callable[[Any], Iterator[str]]] = {
        "spine": _spine,
        "fanout": _fanout,
        "memory": _memory,
        "storm": _storm,
        "signing": _signing,
        "certificates": _certificates,
        "policies": _policies,
        "networking": networking.tables,
        "containers": containers.tables,
    }
    for name, write in writers.items():
        if name in results["cases"]:
            yield from write(results["cases"][name])


def _targets(cases: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if "spine" in cases:
        sorts = cases["spine"]["changes"]["sorts"]
        yield (
            "resources serialised for one endpoint change",
            "1",
            f"{sorts['one endpoint']['serialised']:.0f}",
        )
        unrelated = sorts["one unrelated object"]
        yield ("responses to an unrelated change", "0", f"{sum(unrelated['sent'].values())}")
        settled = {
            row["cold"]["services"]: row["endpoint"]["settled"]["p50"] for row in cases["spine"]["slope"]
        }
        smallest = min(settled)
        for services in sorted(settled)[-2:]:
            what = f"cost of one endpoint change, {smallest} to {services} services"
            yield (what, "at most 1.5x", f"{settled[services] / settled[smallest]:.2f}x")
    yield from networking.targets(cases.get("networking", []))
    for run in cases.get("fanout", ()):
        for name, case in run["cases"].items():
            loop, burst = (case["against"][arm]["last_ack"]["p50"] for arm in fanout.ARMS[1:])
            what = f"{name} change to {run['proxies']} proxies in {run['namespaces']} scopes, last ACK"
            yield (what, "at most 1.3x a bare loop", f"{loop:.2f}x ({burst:.2f}x a bare burst)")
    if "memory" in cases:
        for name, steps in cases["memory"]["namespaces"].items():
            what = f"RSS with 1000 services, {steps[-2]['proxies']:.0f} proxies, {name} namespaces"
            yield (
                what,
                "below 400 MB",
                f"{steps[-2]['rss']:.0f} MB ({steps[-1]['rss']:.0f} after a restart)",
            )


def _title(text: str, body: str) -> str:
    return f"### {text}\n\n{body}"


def _head(names: str) -> list[str]:
    return names.split(", ")


def _times(found: Summary) -> list[float | None]:
    return [found.get(name) for name in _TIMES]


def _spine(found: dict[str, Any]) -> Iterator[str]:
    changes = found["changes"]
    cold = changes["cold"]
    head = _head("change, queries run, serialised, responses, bytes, of these echoes")
    yield _title(
        f"One change among {cold['services']} services, {cold['scopes']} scopes, one proxy each",
        table(
            head,
            (
                (name, one["runs"], one["serialised"], _sent(one["sent"]), one["size"], one["echoes"])
                for name, one in changes["sorts"].items()
            ),
        ),
    )
    head = _head("change, settled p50, p99, last ACK p50, p99, CPU p50, loop lag p50, GC p50")
    yield _title(
        "Its time, in ms (settled: the graph has the new bytes)",
        table(
            head,
            (
                (
                    name,
                    one["settled"]["p50"],
                    one["settled"]["p99"],
                    one["last_ack"].get("p50"),
                    one["last_ack"].get("p99"),
                    one["cpu"]["p50"],
                    one["lag"]["p50"],
                    one["pauses"]["p50"],
                )
                for name, one in changes["sorts"].items()
            ),
        ),
    )
    yield _cold([cold, *(row["cold"] for row in found["slope"])])
    yield _slope(found["slope"])


def _cold(builds: list[dict[str, Any]]) -> str:
    head = _head("services, scopes, objects, queries run, CPU s, sent MB, loop lag p99 ms, GC max ms, RSS MB")
    rows = (
        (
            one["services"],
            one["scopes"],
            one["objects"],
            one["runs"],
            one["cpu"],
            one["mb"],
            one["lag"]["p99"],
            one["pauses"].get("max"),
            one["rss"],
        )
        for one in builds
    )
    return _title("Cold build: from parsed YAML to one warm proxy per scope", table(head, rows))


def _slope(rows: list[dict[str, Any]]) -> str:
    base = rows[0]["endpoint"]["settled"]["p50"]
    head = _head(
        "services, queries run, serialised, settled p50 ms, p90, against the smallest, last ACK p50 ms"
    )
    shown = (
        (
            row["cold"]["services"],
            row["endpoint"]["runs"],
            row["endpoint"]["serialised"],
            row["endpoint"]["settled"]["p50"],
            row["endpoint"]["settled"]["p90"],
            row["endpoint"]["settled"]["p50"] / base,
            row["endpoint"]["last_ack"]["p50"],
        )
        for row in rows
    )
    return _title("One endpoint change by size of the mesh", table(head, shown))


def _fanout(runs: list[dict[str, Any]]) -> Iterator[str]:
    for run in runs:
        cases = run["cases"]
        rows = [
            (f"{name}, {arm}", label, *_times(case[arm][what]))
            for name, case in cases.items()
            for arm in fanout.ARMS
            for what, label in _MEASURED.items()
        ]
        rounds = next(iter(cases.values()))["rounds"]
        yield _title(
            f"One change to {run['proxies']} proxies in {run['namespaces']} scopes, {rounds} rounds; ms",
            table(["change, arm", "", *_TIMES], rows),
        )
        head = _head("control plane through, bytes, echoes, last ACK p50, least, p90, CPU p50, least, p90")
        yield table(
            head,
            (
                (
                    f"{name}, {arm}",
                    case["bytes"],
                    case["echoes"],
                    *(ratios[what][at] for what in ("last_ack", "cpu") for at in ("p50", "min", "p90")),
                )
                for name, case in cases.items()
                for arm, ratios in case["against"].items()
            ),
        )
        yield table(
            _head(
                "where the time goes; ms p50, committed, settled, first write, last write, last ACK, planning"
            ),
            ((name, *case["stages"].values(), case["planned"]) for name, case in cases.items()),
        )


def _memory(found: dict[str, Any]) -> Iterator[str]:
    by_namespace = found["namespaces"]
    counts = [int(step["proxies"]) for step in next(iter(by_namespace.values()))][:-1]
    rows = [
        (f"{name} namespaces", *(step["rss"] for step in steps), steps[-1]["peak"])
        for name, steps in by_namespace.items()
    ]
    head = ("RSS, MB", *(f"{count} proxies" for count in counts), "all after a restart", "peak of that")
    yield _title("Memory with 1000 services", table(head, rows))
    breakdown = found["breakdown"]
    packages = [(name, size) for name, size in breakdown["packages"].items() if size >= 0.5]
    yield _title(
        f"Who allocated it ({breakdown['python']:.0f} MB of Python objects in all)",
        table(("package", "MB"), packages),
    )
    types = [(name, count, size) for name, count, size in breakdown["types"][:12]]
    yield _title("What it is", table(("type", "objects", "MB"), types))


def _storm(found: dict[str, Any]) -> Iterator[str]:
    head = _head(", warm p50 s, p90, last, CPU s, sent MB, lag p50 ms, p99, max, GC max ms, peak RSS MB")
    rows = (
        (
            name,
            one["warm"]["p50"],
            one["warm"]["p90"],
            one["warm"]["max"],
            one["cpu"],
            one["mb"],
            one["lag"]["p50"],
            one["lag"]["p99"],
            one["lag"]["max"],
            one["pauses"].get("max"),
            one["peak"],
        )
        for name, one in found["storms"].items()
    )
    yield _title(f"{found['proxies']} proxies connect at once", table(head, rows))


def _signing(found: dict[str, Any]) -> Iterator[str]:
    head = _head("what, per second of CPU, p50 us, p99, make key us, check request, sign, the rest, crypto %")
    names = ("per_second", "p50", "p99", "key", "check", "signature", "rest")
    rows = ((what, *(one[name] for name in names), 100 * one["share"]) for what, one in found.items())
    yield _title("Certificates issued on one core", table(head, rows))


def _certificates(found: dict[str, Any]) -> Iterator[str]:
    head = _head("who, certificate p50 s, p90, p99, last, warm p50 s, last, CPU s, CPU ms per proxy")
    rows = (
        (
            name,
            *_times(one["secured"] or {}),
            one["warm"]["p50"],
            one["warm"]["max"],
            one["cpu"],
            one["cpu"] / found["proxies"] * 1000,
        )
        for name, one in found["arms"].items()
    )
    yield _title(f"{found['proxies']} proxies connect at once and want certificates", table(head, rows))


def _policies(found: dict[str, Any]) -> Iterator[str]:
    head = _head(
        "change, queries run, serialised, responses, bytes, settled p50 ms, CPU p50 ms, against nobody"
    )
    rows = (
        (
            name,
            one["identified"]["runs"],
            one["identified"]["serialised"],
            _sent(one["identified"]["sent"]),
            one["identified"]["size"],
            one["identified"]["settled"]["p50"],
            one["identified"]["cpu"]["p50"],
            f"{one['ratio']['cpu']['p50']:.2f}x",
        )
        for name, one in found["sorts"].items()
    )
    rss = found["rss"]
    yield _title(
        f"One edit with {found['proxies']} proxies in {found['namespaces']} scopes that have an identity "
        f"(RSS {rss['identified']:.0f} MB, of the same proxies without one {rss['nobody']:.0f} MB)",
        table(head, rows),
    )


def _sent(sent: dict[str, int]) -> str:
    return " ".join(f"{count} {short}" for short, count in sorted(sent.items())) or "none"
