"""As whom the programs of a pod run, and by what the kernel tells Envoy's packets from the application's.

In Istio it is the user: Envoy is 1337, and the redirect rules let pass what 1337 sends.  In a user namespace
that has only one user there is no 1337.  Then all programs run as that user, and Envoy puts a mark on the
sockets that it opens (SO_MARK, by a setting of its bootstrap), by which the rules know it.  An application
does not mark its sockets; one that wanted to could, so this is for a demo and not for keeping anybody out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.inject.iptables import PROXY_UID, Interception, nat_rules

APP_UID = 65534
"""nobody: an unprivileged user that owns no files."""
MARK = PROXY_UID
"""What Envoy's sockets are marked with where there is no user 1337; any number would do."""

_SOL_SOCKET, _SO_MARK = 1, 36  # Linux's numbers; Python's socket module has the second from 3.13 only


@dataclass(frozen=True, slots=True)
class Users:
    """The users of Envoy and of the application; `mark` is that of Envoy's sockets, None without one."""

    proxy: int
    app: int
    mark: int | None = None


SEPARATE = Users(PROXY_UID, APP_UID)
ALONE = Users(0, 0, MARK)


def present(process: Path = Path("/proc/self")) -> Users:
    """The users that the pods of this process can have."""
    maps = [(process / name).read_text(encoding="ascii") for name in ("uid_map", "gid_map")]
    return SEPARATE if all(holds(found, (PROXY_UID, APP_UID)) for found in maps) else ALONE


def holds(id_map: str, wanted: tuple[int, ...]) -> bool:
    """Whether all these ids exist in a user namespace with this map: lines of "first outside count"."""
    rows = [tuple(map(int, line.split())) for line in id_map.splitlines()]
    return all(any(first <= one < first + count for first, _, count in rows) for one in wanted)


def redirect_rules(users: Users, *, dns: bool = False) -> str:
    """The nat table of a pod, as `iptables-restore` reads it: by Envoy's user, or by the mark instead.

    `dns`: queries for names are redirected, too.  That takes users of their own: what asks for names in Envoy
    opens sockets without a mark, and its queries would come back to it.
    """
    rules = nat_rules(Interception(capture_dns=None if dns and users.mark is None else ()))
    if users.mark is None:
        return rules
    # One mark stands for user and group, so the rules for the group go.
    lines = [line for line in rules.splitlines() if "--gid-owner" not in line]
    for sign in ("", "! "):
        owner, mark = f"-m owner {sign}--uid-owner {PROXY_UID}", f"-m mark {sign}--mark {users.mark}"
        lines = [line.replace(owner, mark) for line in lines]
    return "\n".join(lines) + "\n"


def marked(bootstrap: Mapping[str, Any], users: Users) -> dict[str, Any]:
    """A bootstrap with which Envoy marks every socket that it opens to others; unchanged without a mark.

    What it hands to the application is let pass by its source address, as it is in every pod.
    """
    if users.mark is None:
        return dict(bootstrap)
    option = {
        "description": "known to the redirect rules",
        "level": _SOL_SOCKET,
        "name": _SO_MARK,
        "int_value": users.mark,
        "state": "STATE_PREBIND",
    }
    return {**bootstrap, "cluster_manager": {"upstream_bind_config": {"socket_options": [option]}}}
