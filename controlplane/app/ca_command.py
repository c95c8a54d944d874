"""The command line of `mini-istiod ca`: who signs, and the change of root, of a control plane that runs."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from controlplane.app.ca_routes import PATH
from controlplane.base import parse
from controlplane.ctl import monitoring

_ABOUT = {
    "idle": "one root, which signs",
    "trust": "both roots are trusted, the old one signs",
    "sign": "both roots are trusted, the new one signs",
    "drop": "the new root alone is trusted",
}
_LOOK = 0.2
_TIMEOUT = 10.0
_PATIENCE = 60.0
"""Seconds for which a control plane that restarts may be away."""
_NAMES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `ca`."""
    parser.add_argument(
        "--monitoring",
        default=monitoring.DEFAULT,
        metavar="URL",
        help="the control plane's monitoring address (default %(default)s)",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    actions.add_parser("show", help="who signs and who is trusted")
    actions.add_parser("status", help="how far a rotation of the root is")
    actions.add_parser("roots", help="the roots that are trusted now, as PEM")
    rotate = actions.add_parser("rotate", help="change the root, stage by stage, while everything runs")
    rotate.add_argument("--no-wait", action="store_true", help="begin, and do not wait for the end")
    seconds = parse.argument(parse.positive)
    rotate.add_argument(
        "--timeout", type=seconds, default=0.0, metavar="SECONDS", help="the longest to wait; it goes on"
    )
    actions.add_parser("abandon", help="keep the old root, as long as the new one does not sign")
    actions.add_parser("advance", help="leave a stage though some are behind: others may refuse them")
    actions.add_parser("reload", help="take up the new files of a CA that is plugged in")


def run(args: argparse.Namespace) -> int:
    """The command; status 1 when a rotation is not over within --timeout, or nobody answers any more."""
    if args.action in ("rotate", "abandon", "advance", "reload"):
        path = f"{PATH}?do={args.action}"
        found = monitoring.fetch(args.monitoring, path, dict, _TIMEOUT, post=True)
    else:
        found = monitoring.fetch(args.monitoring, PATH, dict, _TIMEOUT)
    if args.action == "rotate" and not args.no_wait:
        return _follow(args.monitoring, args.timeout, found["roots"][-1]["sha256"])
    if args.action == "roots":
        print(found["bundle"], end="")
    elif args.action == "show":
        print("\n".join(_shown(found)))
    else:
        print("\n".join(_status(found)))
    return 0


def _shown(found: dict[str, Any]) -> list[str]:
    lines = [f"authority  {found['kind']}", *_certificate("signer", found["signer"])]
    for one in found["between"]:
        lines += _certificate("between", one)
    for one in found["roots"]:
        lines += _certificate("root", one)
    return [*lines, *_status(found)]


def _certificate(what: str, one: dict[str, str]) -> list[str]:
    return [
        f"{what:10} {one['subject']}",
        f"{'':10} from {one['not_before']} to {one['not_after']}",
        f"{'':10} sha256 {one['sha256']}",
    ]


def _status(found: dict[str, Any]) -> list[str]:
    lines = [f"stage      {found['stage']}: {_ABOUT[found['stage']]}"]
    behind = found["behind"]
    if behind and found["stage"] == "idle":
        # After `abandon`, or with a CA that is plugged in: no stage waits, but they are told still.
        lines.append(f"to follow  {_names(behind)} (the last change is on its way to them)")
    elif behind:
        lines.append(f"behind     {_names(behind)}")
    if found.get("held"):
        lines.append(f"held       {found['held']}")
    elif not behind and found.get("pause_left"):
        lines.append(f"pause      {found['pause_left']:.0f} s left")
    return lines


def _names(behind: list[str]) -> str:
    more = len(behind) - _NAMES
    return f"{len(behind)}: {', '.join(behind[:_NAMES])}" + (f" and {more} more" if more > 0 else "")


def _follow(address: str, timeout: float, new: str) -> int:
    """Tell every stage and whom it waits for until the rotation to the root `new` is over."""
    began = time.monotonic()
    told: tuple[str, ...] = ()
    while True:
        left = began + timeout - time.monotonic() if timeout else _PATIENCE
        found = _persistently(address, min(left, _PATIENCE))
        if found is None:
            return 1
        passed = time.monotonic() - began
        # The pause counts down: that alone is no news.
        news = tuple(line for line in _status(found) if not line.startswith("pause"))
        if news != told:
            fresh = [line for line in _status(found) if line not in told]
            print("\n".join(f"{passed:7.1f} s  {line}" for line in fresh), flush=True)
            told = news
        if found["stage"] == "idle":
            if found["signer"]["sha256"] == new:
                return 0
            print(
                "mini-istiod: it is not the new root: the rotation was abandoned, or forgotten in a restart "
                "without --data-dir",
                file=sys.stderr,
            )
            return 1
        if timeout and passed > timeout:
            print("mini-istiod: the rotation goes on; see mini-istiod ca status", file=sys.stderr)
            return 1
        time.sleep(_LOOK)


def _persistently(address: str, patience: float) -> dict[str, Any] | None:
    """What is shown, be it by the next process: None when for so many seconds there was none."""
    lost: float | None = None
    while True:
        try:
            found = monitoring.fetch(address, PATH, dict, _TIMEOUT)
        except monitoring.NoAnswerError as error:
            now = time.monotonic()
            if lost is None:
                lost = now
                print(f"mini-istiod: {error} (asking on)", file=sys.stderr)
            if now - lost > patience:
                print(
                    "mini-istiod: no answer; the rotation goes on where it was as soon as the control plane "
                    "runs again with the same --data-dir: see mini-istiod ca status",
                    file=sys.stderr,
                )
                return None
            time.sleep(_LOOK)
        else:
            if lost is not None:
                print("mini-istiod: it answers again", file=sys.stderr)
            return found
