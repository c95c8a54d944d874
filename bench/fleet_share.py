"""Which of the two is busy, the server or the fleet: CPU of both for the same messages.

    python -m bench.fleet_share [proxies ...]

This control plane with a thousand services in ten namespaces serves a fleet in one process: a cold start
of all proxies at once, an endpoint change and a route change.  A fleet that is busier than the server would
be what is measured.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import plant
from bench.figures import median, table
from controlplane.lab.child import Child, child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet

_ROUNDS = 5
Row = tuple[object, ...]


def run(count: int) -> list[Row]:
    """Rows: proxies, what, messages, kB of one, CPU of server and fleet (microseconds a message)."""
    size = mesh.Mesh(services=1000, namespaces=10)
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder) / 'plane'}"
        with (
            child("plane", plant.main, address, size) as plane,
            Fleet(address, map(size.node, range(count))) as fleet,
        ):
            plane.ask("fill")
            server, own = plane.ask("state")["cpu"], sum(fleet.cpu())
            fleet.connect(timeout=300)
            spent = (plane.ask("state")["cpu"] - server, sum(fleet.cpu()) - own)
            receipts = fleet.receipts()
            rows = [_row(count, "cold start", len(receipts), sum(one.bytes for one in receipts), spent)]
            changes: dict[str, Callable[[int], mesh.Raw]] = {
                "endpoint change": lambda n: size.slice(5, n),
                "route change": lambda n: size.virtual_service(0, 20 + n),
            }
            rows += [_change(count, name, change, plane, fleet) for name, change in changes.items()]
            return rows


def _change(count: int, name: str, change: Callable[[int], mesh.Raw], plane: Child, fleet: Fleet) -> Row:
    spent = []
    for n in range(_ROUNDS + 1):
        fleet.receipts()
        own = sum(fleet.cpu())
        server = plane.ask("change", raw=change(n + 1))["cpu"]
        spent.append((server, sum(fleet.cpu()) - own))
    receipts = fleet.receipts()
    both = (median(one for one, _ in spent[1:]), median(other for _, other in spent[1:]))
    return _row(count, name, len(receipts), sum(one.bytes for one in receipts), both)


def _row(count: int, name: str, messages: int, size: int, spent: tuple[float, float]) -> Row:
    server, fleet = (f"{seconds / messages * 1e6:.0f}" for seconds in spent)
    return count, name, messages, f"{size / messages / 1000:.1f}", server, fleet


def main() -> int:
    counts = [int(one) for one in sys.argv[1:]] or [500, 2000]
    head = ("proxies", "what", "messages", "kB each", "server, µs a message", "fleet, µs a message")
    print(table(head, [row for count in counts for row in run(count)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
