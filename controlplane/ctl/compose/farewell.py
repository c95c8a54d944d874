"""How pairs that are taken back leave without a failed request: the commands, in their order.

`docker-compose` 1.29 kills what its file does not name any more, with the requests that it has.  And it
leaves the volumes, in which tokens are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from controlplane.ctl.compose.document import entry, parse, value
from controlplane.ctl.compose.sidecar import owner, volume
from controlplane.ctl.compose.weave import MARK

_GRACE = 5
"""Seconds for which a sidecar serves on: `stop_grace_period` in its template."""


def farewell(before: str, after: str, file: str) -> list[str]:
    """What to do when `before` (a text of Compose) became `after`, which is `file`; [] if no pair is gone."""
    new = _generated(after)
    gone = [one for one in _generated(before) if one not in new]
    pairs = [one for one in gone if owner(one) in gone]
    if not pairs:
        return []
    project = _project(before, file)
    volumes = [f"{project}_{volume(one)}" for one in pairs]
    named = " ".join(f"-f volume={one}" for one in volumes)
    commands = (
        f"docker stop -t {_GRACE} $(docker ps -q {named})",
        f"docker-compose -f {file} up -d --remove-orphans",
        f"docker volume rm {' '.join(volumes)}",
    )
    return [
        f"{', '.join(pairs)}: taken back.  So that no request fails, and no token stays, in this order "
        f"(the project is called {project}, or say its name):" + "".join(f"\n  {one}" for one in commands)
    ]


def _generated(text: str) -> list[str]:
    """The services that a meshed file lists as this command's own."""
    document = parse(text.removeprefix("\ufeff"), "the file")
    place = entry(document.root, MARK)
    record = None if place is None else value(document, place.node)
    found = record.get("services") if isinstance(record, dict) else None
    return [str(one) for one in found] if isinstance(found, list) else []


def _project(text: str, file: str) -> str:
    """What Compose calls the project: as the file says, or the environment, or the folder."""
    document = parse(text.removeprefix("\ufeff"), "the file")
    place = entry(document.root, "name")
    said = value(document, place.node) if place is not None else None
    folder = Path(file).absolute().parent.name
    name = os.environ.get("COMPOSE_PROJECT_NAME") or (said if isinstance(said, str) else folder)
    found = "" if "$" in name else re.sub(r"[^-_a-z0-9]", "", name.lower())
    return found or "PROJECT"
