"""The command line of `mini-istiod provision`: bootstraps and tokens for all proxies of a project.

A one-shot job runs it before anything else starts, with a volume for each proxy under `--out`.  Each gets a
bootstrap, and a token that only its pod can use and only its Envoy's user can read.  No container has an
address yet, so the bootstraps say 0.0.0.0: a proxy is where the pod of its name is.

Run again it keeps the tokens that are good for a while still, and takes back those of proxies that are no
longer named.  A token that it renews running Envoys notice, and send it with the next stream.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from controlplane.app import proxy_files, started
from controlplane.app.proxy_files import account
from controlplane.app.token_command import moment
from controlplane.base import parse
from controlplane.base.errors import EnvironmentUnfit, MiniIstiodError
from controlplane.ca.keep import replace
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Account, Wish
from controlplane.envoy.bootstrap import ControlPlane, Node
from controlplane.envoy.bootstrap_trust import CONTROL_PLANE, Trust
from controlplane.mesh.proxy_config import Started

TOKEN = "token"
UNKNOWN_ADDRESS = "0.0.0.0"
_PROXY = "NAME=NAMESPACE/ACCOUNT[,router][,LABEL=VALUE…]"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One proxy: the pod's name, its identity, what it is, and labels for where nothing else tells them."""

    name: str
    namespace: str
    account: str
    kind: Literal["sidecar", "router"] = "sidecar"
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def node(self) -> Node:
        return Node(
            ip=UNKNOWN_ADDRESS,
            name=self.name,
            namespace=self.namespace,
            kind=self.kind,
            labels=self.labels,
            service_account=self.account,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `provision`."""
    parser.add_argument("--data-dir", required=True, type=Path, help="the control plane's")
    parser.add_argument(
        "--proxy",
        required=True,
        action="append",
        type=parse.argument(wanted),
        metavar=_PROXY,
        help="a proxy: its pod's name and who it is; repeatable",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="each proxy's is DIR/NAME")
    parser.add_argument(
        "--seen-at", required=True, metavar="DIR", help="where each proxy sees the folder that is its own"
    )
    started.add_argument(parser)
    plane = parser.add_argument_group("the control plane, as the proxies see it")
    plane.add_argument(
        *("--xds-address", "--control-plane"),
        required=True,
        type=parse.argument(parse.dialled_address),
        metavar="HOST:PORT",
    )
    plane.add_argument("--root-file", required=True, metavar="PATH", help="PEM with its roots")
    plane.add_argument(
        "--tls-name", default=CONTROL_PLANE, metavar="NAME", help="what its certificate is for"
    )
    tokens = parser.add_argument_group("tokens")
    tokens.add_argument(
        "--ttl",
        default="8760h",
        type=parse.argument(parse.positive_duration),
        metavar="DURATION",
        help="how long they hold (default 8760h, a year)",
    )
    tokens.add_argument(
        "--owner",
        default="1337:1337",
        type=parse.argument(_owner),
        metavar="UID:GID",
        help="whom the files of tokens belong to: Envoy's user (default 1337:1337)",
    )
    tokens.add_argument(
        "--keep-unnamed",
        action="store_true",
        help="do not revoke what this command gave to proxies that are not named any more: for jobs that "
        "share a data directory",
    )


def wanted(text: str) -> Wanted:
    """A proxy as `--proxy` tells it; ValueError says which part of it is wrong."""
    head, *rest = text.split(",")
    name, equals, path = head.partition("=")
    if not equals:
        raise ValueError(f"{head!r} names no service account; allowed is {_PROXY}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"the name {name!r} may hold letters, digits, '.', '_' and '-', at most 253")
    try:
        namespace, owner = account(path)
    except ValueError as error:
        raise ValueError(f"the service account {path!r} of {name}: {error}") from None
    kind: Literal["sidecar", "router"] = "sidecar"
    labels: dict[str, str] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if part == "router":
            kind = "router"
        elif not key or not equals:
            raise ValueError(f"{part!r} of {name} is neither 'router' nor LABEL=VALUE")
        elif key in labels:
            raise ValueError(f"the label {key!r} of {name} is there twice")
        else:
            labels[key] = value
    return Wanted(name, namespace, owner, kind, labels)


def run(args: argparse.Namespace) -> int:
    """Write the files of every proxy; MiniIstiodError names the flag, or what could not be written."""
    proxies: list[Wanted] = args.proxy
    _check(proxies)
    seen_at = proxy_files.absolute("--seen-at", args.seen_at).rstrip("/") or "/"
    root = proxy_files.absolute("--root-file", args.root_file)
    trust = Trust(seen_at, root=root, token=f"{seen_at.rstrip('/')}/{TOKEN}", name=args.tls_name)
    plane = ControlPlane(str(args.xds_address), trust=trust)
    # Before the tokens: one that is issued and cannot be kept would stay in the list of those that hold.
    _check_owner(args.owner)
    objects = started.read_objects(args.objects)
    folders = [_folder(args.out / one.name) for one in proxies]
    store = TokenStore(args.data_dir)
    tokens = [_token(store, one, folder, args.ttl) for one, folder in zip(proxies, folders, strict=True)]
    for one, folder, (token, held) in zip(proxies, folders, tokens, strict=True):
        node, found = started.start(one.node, objects)
        _write_secret(folder, token, args.owner)
        _write(folder, node, plane, found)
        until = moment(held.expires)
        more = f"; start Envoy with {started.flags(found)}" if started.flags(found) else ""
        print(f"{one.name}: {one.kind} of {one.namespace}/{one.account}, until {until}, in {folder}{more}")
    if not args.keep_unnamed:
        # Last: what fails before has taken nothing from anybody.
        for held in store.take_back({f"{one.namespace}/{one.name}" for one in proxies}, time.time()):
            print(f"{held.pod}: not named any more; its token {held.id} of {held.path} is revoked")
    return 0


def _check(proxies: list[Wanted]) -> None:
    names = [one.name for one in proxies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MiniIstiodError(f"--proxy: {twice[0]!r} is there twice; each proxy has a name of its own")
    for one in proxies:
        proxy_files.checked(one.node, f"--proxy {one.name}")


def _check_owner(owner: tuple[int, int]) -> None:
    user, group = _mine()
    if user != 0 and owner != (user, group):
        raise EnvironmentUnfit(
            f"--owner: user {user} cannot give a token to user {owner[0]}: run as root with CAP_CHOWN, "
            f"or with --owner {user}:{group} if Envoy runs as that"
        )


def _mine() -> tuple[int, int]:
    return os.geteuid(), os.getegid()


def _folder(path: Path) -> Path:
    try:
        return parse.made_directory(path)
    except ValueError as error:
        raise MiniIstiodError(f"--out: '{path}' cannot be used: {error}") from error


def _token(store: TokenStore, proxy: Wanted, folder: Path, lifetime: float) -> tuple[str, Account]:
    """The token of a proxy, which may be the one that lies in its folder, and what it says."""
    wish = Wish(proxy.namespace, proxy.account, lifetime, pod=proxy.name)
    try:
        return store.provide(wish, _read(folder / TOKEN), time.time())
    except ValueError as error:
        raise MiniIstiodError(f"--proxy {proxy.name}: {error}") from error


def _read(path: Path) -> str:
    """The token that a run before has left there; "" when there is none that can be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, PermissionError, UnicodeDecodeError):
        return ""
    except OSError as error:
        raise EnvironmentUnfit(f"{path}: cannot be read: {error.strerror}") from error


def _write_secret(folder: Path, token: str, owner: tuple[int, int]) -> None:
    """The token of one proxy, for this user and group alone."""
    given = None if owner == _mine() else owner
    if not _is_there(folder / TOKEN, token, owner):
        try:
            # The token first: a proxy that waits for the bootstrap finds it.
            replace(folder / TOKEN, f"{token}\n".encode(), 0o400, given)
        except EnvironmentUnfit as error:
            what = f" (to give it to user {owner[0]} takes the capability CHOWN)" if given else ""
            raise EnvironmentUnfit(f"{error}{what}") from error


def _write(folder: Path, node: Node, plane: ControlPlane, how: Started) -> None:
    """The other files of one proxy."""
    try:
        proxy_files.write(folder, node, plane, started.ports(how), how.start)
        proxy_files.write_health_check(folder)
    except OSError as error:
        raise EnvironmentUnfit(f"{folder}: cannot be written: {error.strerror}") from error


def _is_there(path: Path, token: str, owner: tuple[int, int]) -> bool:
    """Whether this token is in place as it should be: who has it open need not read it again."""
    if _read(path) != token:
        return False
    state = path.stat()
    return (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (*owner, 0o400)


def _owner(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, re.ASCII)
    if found is None:
        raise ValueError("UID:GID is wanted, such as 1337:1337")
    return int(found[1]), int(found[2])
