"""The command that mends containers which share a network: Compose's, from what Compose wrote on them.

Whoever loses a network has to be made anew together with its owner and with all that share it, in that order
and by the same files: by others Compose would make something else of them, a service without its sidecar.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from controlplane.sources.docker import names
from controlplane.sources.docker.container import INIT, Container

_FILES = names.PROJECT + ".config_files"
_FOLDER = names.PROJECT + ".working_dir"
_ENVIRONMENT = names.PROJECT + ".environment_file"
_VERSION = "com.docker.compose.version"

_SERVICE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_LONGEST = 1000
"""Characters of a command that somebody may want to copy."""
_BY_HAND = "recreate it, after the container whose network it shares"


def recreation(lost: Container, owner: Container | None, sharing: Iterable[Container]) -> str:
    """What to do about a container that has lost its network.

    `owner` has, or had, that network (None: it is gone, and perhaps its name can be told by the others);
    `sharing` are all that joined it.
    """
    others = [one for one in sharing if _fits(one, lost)]
    sidecar = names.service_of(owner) if owner is not None else _told_by_init(others)
    inits = sorted({names.service_of(one) for one in others if is_init(one)} - {sidecar})
    rest = sorted({names.service_of(one) for one in (lost, *others)} - {sidecar, *inits})
    services = [one for one in (sidecar, *inits, *rest) if one]
    # Without dependencies nothing else is made anew; whoever is named keeps its place in the order.
    alone = ("--no-deps",) if sidecar else ()
    command = _command(owner or lost, ("up", "-d", "--force-recreate", *alone, *services))
    fit = lost.label(names.SERVICE) is not None and all(map(_SERVICE.fullmatch, services))
    if not command or not fit or (owner is not None and not _fits(owner, lost)):
        return _BY_HAND
    return f"recreate it with all that share that network: {command}"


def start(sidecar: Container) -> str:
    """How the project of a sidecar is started with its sidecars."""
    command = _command(sidecar, ("up", "-d"))
    return f"start the project by its meshed file{command and ': '}{command}"


def is_init(container: Container) -> bool:
    """Whether it ends before the application starts, as init containers do: by label, or by name."""
    return container.label(INIT) is not None or names.service_of(container).endswith("-init")


def _fits(one: Container, other: Container) -> bool:
    """Whether one command can name both: services of a project, and no `compose run`."""
    return (
        one.label(names.SERVICE) is not None
        and one.label(names.PROJECT) == other.label(names.PROJECT)
        and not names.is_one_off(one.label(names.ONE_OFF))
    )


def _told_by_init(sharing: Iterable[Container]) -> str:
    """The sidecar's service where its container is gone: X-envoy of X-init; "" where nobody tells."""
    inits = sorted(names.service_of(one) for one in sharing if is_init(one))
    return f"{inits[0].removesuffix('-init')}-envoy" if inits and inits[0].endswith("-init") else ""


def _command(made: Container, words: Iterable[str]) -> str:
    """A command of Compose for the project of a container, as one line of a shell; "" if none can be had."""
    # Labels are anybody's: what they say is quoted, and what a terminal would obey is not shown.
    found = shlex.join((*_compose(made), *words))
    return found if found.isprintable() and len(found) <= _LONGEST else ""


def _is_in(file: str, folder: str) -> bool:
    """Whether a path, which may be relative, can be that of a file in a folder."""
    parent = PurePosixPath(file).parent.parts
    return not parent or PurePosixPath(folder).parts[-len(parent) :] == parent


def _compose(made: Container) -> Iterator[str]:
    yield from ("docker-compose",) if (made.label(_VERSION) or "").startswith("1.") else ("docker", "compose")
    if project := made.label(names.PROJECT):
        yield from ("-p", project)
    files = [one for one in (made.label(_FILES) or "").split(",") if one not in ("", "-")]
    folder = made.label(_FOLDER) or ""
    # Paths in the files are relative to the first one's folder, unless that was said otherwise.
    if files and folder and not _is_in(files[0], folder):
        yield from ("--project-directory", folder)
    if environment := made.label(_ENVIRONMENT):
        yield from ("--env-file", environment)
    for file in files:
        yield from ("-f", file)
