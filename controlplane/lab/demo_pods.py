"""The demo in pods: a directory of YAML drives real Envoys, step by step, before your eyes.

The bookstore runs in pods made of network namespaces, the control plane as its own process on its
documented command line.  Each step does what a user would: it writes one file into the watched
directory.  Then it waits for the proxies' ACKs, sends traffic through the sidecars, and checks.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import pushes, reach
from controlplane.lab.forward import Forward
from controlplane.lab.pods import Lab
from controlplane.lab.screen import Screen
from controlplane.lab.shop import Shop
from controlplane.lab.steps import STEPS, Result, Step, Visit, failures

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


class DemoError(MiniIstiodError):
    """The demo was asked for something that it does not have."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    names = ",".join(step.name for step in STEPS)
    parser.add_argument("--steps", metavar="A,B", help=f"only these steps, in this order (all: {names})")
    parser.add_argument("--requests", type=_count, default=200, metavar="N", help="per step (default 200)")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    protocol = parser.add_mutually_exclusive_group()
    choices = (
        ("--delta", "DELTA_GRPC", "delta xDS (the default)"),
        ("--sotw", "GRPC", "state-of-the-world xDS"),
    )
    for flag, value, about in choices:
        protocol.add_argument(flag, dest="protocol", action="store_const", const=value, help=about)
    parser.set_defaults(protocol="DELTA_GRPC")


def run(options: argparse.Namespace) -> int:
    """The whole demo.  Exit status: 0 all steps passed, 1 something failed, 130 interrupted."""
    screen = Screen()
    return attentive(screen, lambda: _in_lab(options, choose(options.steps), screen))


def attentive(screen: Screen, walk: Callable[[], tuple[str, ...]]) -> int:
    """Walk, and say the verdict; signals interrupt it, and what it raises is a problem like those it returns.

    Exit status: 0 no problems, 1 some, 130 interrupted.
    """
    try:
        with signals(_interrupt):
            problems = walk()
    except KeyboardInterrupt:
        screen.verdict("demo: FAIL: interrupted")
        return 130
    except MiniIstiodError as error:
        # The verdict is one line, the last; what more there is to say (the end of a log) comes before it.
        problem, *details = str(error).splitlines()
        for line in details:
            screen.line(line)
        problems = (problem.rstrip(":"),)
    if problems:
        screen.verdict("demo: FAIL: " + "; ".join(problems))
        return 1
    screen.verdict("demo: PASS")
    return 0


def choose(names: str | None) -> tuple[Step, ...]:
    """The steps called `names` ("a,b"), all for None.  DemoError for a name that does not exist."""
    if names is None:
        return STEPS
    known = {step.name: step for step in STEPS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = sorted(set(wanted) - known.keys())
    if unknown or not wanted:
        raise DemoError(f"--steps: no step is called {', '.join(unknown)!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def _in_lab(options: argparse.Namespace, steps: Sequence[Step], screen: Screen) -> tuple[str, ...]:
    started = time.monotonic()
    lab = Lab()
    passed = False
    try:
        shop = _open(lab, options.protocol, screen)
        problems: list[str] = []
        for number, step in enumerate(steps, 1):
            screen.heading(f"{number}/{len(steps)} {step.name}: {step.tells}")
            problems += _play(shop, step, options.requests, screen)
        screen.heading(f"{len(steps)} steps in {time.monotonic() - started:.0f} s")
        made, failed, refused = shop.handshakes()
        screen.line(
            f"at the doors of all workloads: {made} mutual TLS handshakes, {failed} failed,"
            f" {refused} plaintext connections refused"
        )
        if options.keep:
            _keep(shop, screen)
        passed = not problems
        return tuple(problems)
    finally:
        with signals(signal.SIG_IGN):  # a second Ctrl-C must not leave half of it behind
            lab.close(keep_files=not passed)
            logs = None if passed else reach.save(lab.directory, os.environ)
        if logs is not None:
            screen.line(
                f"logs: {logs} (until the next lab is opened)" if logs == lab.directory else f"logs: {logs}"
            )


def _open(lab: Lab, protocol: str, screen: Screen) -> Shop:
    screen.heading("opening the bookstore")
    started = time.monotonic()
    shop = Shop(lab)
    delta = protocol == "DELTA_GRPC"
    pushed = shop.open("DELTA_GRPC" if delta else "GRPC")
    style = "delta" if delta else "state of the world"
    took = time.monotonic() - started
    envoys = sum(pod.sidecar is not None for pod in lab.pods.values())
    screen.line(
        f"control plane, {len(lab.pods)} pods and {envoys} Envoys ({style}, TLS, tokens) are ready"
        f" after {took:.1f} s"
    )
    for push in pushed:
        screen.push(push)
    return shop


def _play(shop: Shop, step: Step, requests: int, screen: Screen) -> list[str]:
    problems = shown(
        step, shop.arrange(step), lambda visit: shop.visit(visit, visit.requests(requests)), screen
    )
    return complained(step, [*problems, *shop.rejections()], screen)


def shown(
    step: Step,
    pushed: Sequence[pushes.Push],
    see: Callable[[Visit], Iterator[Result]],
    screen: Screen,
) -> list[str]:
    """A step before the viewer's eyes: what was pushed, then what visitors `see`; returns what was wrong."""
    for push in pushed:
        screen.push(push)
    problems = list(pushes.wrong(pushed))
    for visit in step.visits:
        problems += failures(visit, screen.watch(visit, see(visit)))
    return problems


def complained(step: Step, problems: Sequence[str], screen: Screen) -> list[str]:
    """The problems of a step, said now, and as the verdict names them."""
    for problem in problems:
        screen.line(f"WRONG: {problem}")
    return [f"{step.name}: {problem}" for problem in problems]


def _keep(shop: Shop, screen: Screen) -> None:
    plane = shop.plane
    with ExitStack() as ports:
        page = ports.enter_context(Forward(shop.page))
        screen.heading("running until Ctrl-C")
        screen.line(f"shop, at its gateway: http://127.0.0.1:{page.port}/productpage")
        monitoring = ports.enter_context(Forward(plane.monitoring))
        screen.line(f"control plane: http://127.0.0.1:{monitoring.port}/debug/traces, xDS {plane.secure}")
        screen.line(f"watched directory: {reach.path(plane.config, os.environ)}")
        for name, pod in sorted(shop.lab.pods.items()):
            envoy = "no Envoy"
            if pod.sidecar is not None:
                envoy = f"Envoy http://127.0.0.1:{ports.enter_context(Forward(pod.admin.target)).port}"
            screen.line(f"{name} {pod.spec.ip}: {envoy}, logs {reach.path(pod.directory, os.environ)}")
            screen.line(f"    inside: {reach.shell(pod.netns, os.environ)}")
        try:
            while True:
                plane.check()
                time.sleep(1.0)
        except KeyboardInterrupt:
            screen.line("closing")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def signals(handler: Handler) -> Iterator[None]:
    """Within the block, what asks a program to end is handled so."""
    # Only the main thread may set handlers; elsewhere (tests) signals are somebody else's business.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def main() -> int:
    """`python -m controlplane.lab.demo_pods`: here, as root of the machine or of a user namespace."""
    parser = argparse.ArgumentParser(prog="mini-istiod demo", description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
