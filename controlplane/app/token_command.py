"""The command line of `mini-istiod token`: create, revoke and list our own tokens.

It works on the data directory and needs no running control plane; one that runs on the same directory sees
a revocation within a second.
"""

from __future__ import annotations

import argparse
import json
import stat
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from controlplane.app.proxy_files import account
from controlplane.base import parse
from controlplane.base.errors import MiniIstiodError
from controlplane.ca.keep import replace
from controlplane.ca.token_store import FOLDER, TokenStore
from controlplane.ca.tokens import AUDIENCE, Wish

_HOLDERS_ONLY = 0o600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command lines of `token create`, `token revoke` and `token list`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = _command(commands, "create", "print or write a token for a service account", _create)
    create.add_argument("--sa", required=True, type=parse.argument(account), metavar="NAMESPACE/NAME")
    create.add_argument(
        "--ttl",
        default="24h",
        type=parse.argument(parse.positive_duration),
        metavar="DURATION",
        help='how long it holds, such as "1h30m" (default 24h)',
    )
    create.add_argument("--audience", default=AUDIENCE, help=f"for whom it is meant (default {AUDIENCE})")
    create.add_argument("--pod", default="", help="the only pod that it is for")
    create.add_argument(
        "--out", type=Path, metavar="FILE", help="write it there, for its owner to read; default: print it"
    )
    revoke = _command(commands, "revoke", "take tokens back", _revoke)
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", help="one token, by its id")
    which.add_argument(
        "--sa",
        type=parse.argument(account),
        metavar="NAMESPACE/NAME",
        help="all that this service account was given until now",
    )
    _command(commands, "rotate-key", "sign with a new key from now on", _rotate)
    listed = _command(commands, "list", "tokens that were issued here and have not expired", _list)
    listed.add_argument("--json", action="store_true", help="as JSON lines")


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; the exit status."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    found = commands.add_parser(name, help=about)
    found.add_argument("--data-dir", required=True, type=Path, help="the control plane's")
    found.set_defaults(act=run)
    return found


def _create(args: argparse.Namespace) -> int:
    namespace, name = args.sa
    wish = Wish(namespace, name, args.ttl, args.audience, args.pod)
    try:
        store = TokenStore(args.data_dir)
        token, issued = store.issue(wish, time.time())
    except ValueError as error:
        raise MiniIstiodError(f"--sa: {error}") from error
    if store.is_new:
        print(
            f"mini-istiod: there was no key for tokens in {args.data_dir}, and one is made: only a control "
            "plane with this --data-dir believes what it signs",
            file=sys.stderr,
        )
    if args.out is None:
        print(token)
        return 0
    # Whoever was to read the old one is to read the new one.
    mode = stat.S_IMODE(args.out.stat().st_mode) if args.out.exists() else _HOLDERS_ONLY
    replace(args.out, token.encode(), mode)
    until = moment(issued.expires)
    print(f"{issued.id} is written to {args.out}, and expires at {until}", file=sys.stderr)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    store = _existing(args.data_dir)
    if args.sa is not None:
        store.revoke_account("/".join(args.sa), time.time())
    elif not store.revoke(args.id, time.time()):
        raise MiniIstiodError(f"no token {args.id!r} was issued here that has not expired: see token list")
    return 0


def _rotate(args: argparse.Namespace) -> int:
    store = _existing(args.data_dir)
    held = store.rotate(time.time())
    print(f"{store.issuer.kid} signs from now on", file=sys.stderr)
    if held:
        until = moment(max(one.expires for one in held))
        print(
            f"tokens of old keys that hold still: {len(held)}; the last expires at {until}", file=sys.stderr
        )
    return 0


def _list(args: argparse.Namespace) -> int:
    store = _existing(args.data_dir)
    revoked = store.revoked()
    for one in store.issued(time.time()):
        taken = bool(revoked.reason(one.id, one.path, one.issued))
        if args.json:
            shown = {"id": one.id, "account": one.path, "pod": one.pod, "expires": one.expires}
            print(json.dumps({**shown, "revoked": taken}))
        else:
            pod = f"  pod {one.pod}" if one.pod else ""
            state = "revoked" if taken else f"until {moment(one.expires)}"
            print(f"{one.id}  {one.path}{pod}  {state}")
    return 0


def _existing(data_dir: Path) -> TokenStore:
    """The tokens of a directory that has some: a slip of the hand must not look like success."""
    if not (data_dir / FOLDER).is_dir():
        raise MiniIstiodError(f"--data-dir: no token was ever issued in {data_dir}")
    return TokenStore(data_dir)


def moment(seconds: float) -> str:
    """Unix seconds as people and logs read them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
