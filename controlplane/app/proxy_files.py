"""What a proxy starts with, as files: the node checked, the bootstrap and its secrets put in place.

`mini-istiod bootstrap` makes one proxy's, by flags; `mini-istiod provision` makes those of a whole project.
A file is moved into its place, so that nobody reads half of it and a running Envoy, which watches for moves,
sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from controlplane import envoy
from controlplane.base.errors import MiniIstiodError, ProtocolError
from controlplane.envoy.bootstrap import ControlPlane, Node, Ports, bootstrap
from controlplane.envoy.bootstrap_start import started
from controlplane.envoy.bootstrap_trust import Json, secret_files
from controlplane.model.kinds.proxy_start import ProxyStart
from controlplane.model.proxy import parse_node

BOOTSTRAP_FILE = "envoy.json"
HEALTH_CHECK = "healthy.sh"
"""The health check of an Envoy's container, for bash: the image has nothing else to ask with."""


def checked(node: Node, where: str) -> Node:
    """The node, if the control plane can read it; else MiniIstiodError that begins with `where`."""
    try:
        # As the control plane will read it; better said here than in its log.
        parse_node(node.id, {"NAMESPACE": node.namespace, "INSTANCE_IPS": node.ip})
    except ProtocolError as error:
        raise MiniIstiodError(f"{where}: {error}") from error
    return node


def labels(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Labels from pairs (where it was given, "KEY=VALUE"); MiniIstiodError names the one that is none."""
    found: dict[str, str] = {}
    for where, text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise MiniIstiodError(f"{where}: {text!r} cannot be used; allowed is KEY=VALUE")
        found[key] = value
    return found


def account(text: str) -> tuple[str, str]:
    """(namespace, name) of "NAMESPACE/NAME"; ValueError when it is something else."""
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ValueError("NAMESPACE/NAME is wanted")
    return namespace, name


def absolute(flag: str, path: str) -> str:
    """The path, if it is absolute: it is read elsewhere, in another working directory."""
    if not path.startswith("/"):
        raise MiniIstiodError(f"{flag}: {path!r} cannot be used; allowed is an absolute path")
    return path


def text(content: Json) -> str:
    """JSON as it is printed and written."""
    return json.dumps(content, indent=2) + "\n"


def write(folder: Path, node: Node, plane: ControlPlane, ports: Ports, start: ProxyStart) -> None:
    """Write envoy.json into the folder, and the secrets that it points to, if there is trust.

    None of it is secret.  Raises OSError.
    """
    secrets = {} if plane.trust is None else secret_files(plane.trust)
    # The bootstrap comes last: a proxy that waits for it finds the rest.
    found = started(bootstrap(node, plane, ports=ports), start)
    for name, content in (*secrets.items(), (BOOTSTRAP_FILE, found)):
        _put(folder, name, text(content))


def write_health_check(folder: Path) -> None:
    """Write the script by which Docker asks an Envoy how it is; it reads the bootstrap beside it.

    Raises OSError.
    """
    _put(folder, HEALTH_CHECK, (resources.files(envoy) / HEALTH_CHECK).read_text(encoding="utf-8"))


def _put(folder: Path, name: str, content: str) -> None:
    draft = folder / f".{name}.draft"
    draft.write_text(content, encoding="utf-8")
    draft.chmod(0o644)  # the proxy is another user
    draft.replace(folder / name)
