"""What the demo shows: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from controlplane.lab.hops import hops, told
from controlplane.lab.pushes import Push
from controlplane.lab.steps import Result, Visit

_BAR = 20  # characters for 100 %
_FRAMES = 20  # per second
_NUMBERS = 76  # characters that the columns before the last one take


class Screen:
    """Writes to standard output; colours and live updates only when that is a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def heading(self, text: str) -> None:
        """A new part begins."""
        self._console.print(f"\n[bold]{escape(text)}[/bold]", soft_wrap=True)

    def line(self, text: str) -> None:
        """One line of the part that runs."""
        self._console.print("  " + escape(text), soft_wrap=True)

    def verdict(self, text: str) -> None:
        """The last line, flush left and unadorned, so that a script can look for it."""
        self._console.print(text, markup=False, soft_wrap=True)

    def push(self, push: Push) -> None:
        """How long a change took to reach the last proxy, and where the time went."""
        kind, namespace, name = push.target
        stages = ", ".join(f"{stage} {seconds * 1000:.1f}" for stage, seconds in push.durations())
        self.line(
            f"pushed {kind} {namespace}/{name}: {push.acked} of {push.touched} proxies"
            f" in {push.seconds * 1000:.1f} ms  ({stages})"
        )

    def watch(self, visit: Visit, results: Iterator[Result]) -> list[Result]:
        """Collect the results of a visit, showing who answers while they come in."""
        seen: list[Result] = []
        if not self._console.is_terminal:
            seen.extend(results)
            self.line(summary(visit, seen))
            for line in told(hops(seen, visit.asker)):
                self.line("    " + line)
            return seen
        with Live(console=self._console, refresh_per_second=_FRAMES) as live:
            for result in results:
                seen.append(result)
                live.update(_table(visit, seen, self._console.width))
        return seen


def summary(visit: Visit, results: Sequence[Result]) -> str:
    """One line: `everybody: reviews v1 181 (90.5 %), reviews v2 19 (9.5 %)`."""
    parts = (f"{outcome} {count} ({share:.1%})" for outcome, count, share in _rows(visit, results))
    return f"{visit.who}: {', '.join(parts)}"


def _rows(visit: Visit, results: Sequence[Result]) -> Iterable[tuple[str, int, float]]:
    counts = Counter(visit.outcome(result) for result in results)
    for outcome in sorted(counts.keys() | visit.expect.keys()):
        yield outcome, counts[outcome], counts[outcome] / max(1, len(results))


def _table(visit: Visit, results: Sequence[Result], width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(5):
        table.add_column(no_wrap=True)
    # On a narrow terminal this is what there is least need of.
    table.add_column(no_wrap=True, max_width=max(1, width - _NUMBERS))
    for number, (outcome, count, share) in enumerate(_rows(visit, results)):
        expected = visit.expect.get(outcome, 0.0)
        wanted = "some" if expected is None else f"{expected:.0%} expected"
        colour = "green" if outcome in visit.expect else "red"
        bar = "█" * round(share * _BAR)
        who = f"  {visit.who}" if number == 0 else ""
        cells = (who, outcome, str(count), f"{share:.1%}", wanted)
        table.add_row(*map(escape, cells), f"[{colour}]{bar:<{_BAR}}[/{colour}]")
    for hop, count in sorted(hops(results, visit.asker).items()):
        colour = "green" if hop.caller == hop.expected else "red"
        how = "mutual TLS" if hop.caller else "plaintext"
        cells = ("", f"{hop.asker} → {hop.service}", str(count), "", how)
        # The service account is what differs.
        caller = f"as {hop.caller.rpartition('/')[2]}" if hop.caller else "as nobody known"
        table.add_row(*(f"[dim]{escape(cell)}[/dim]" for cell in cells), f"[dim {colour}]{escape(caller)}[/]")
    return table
