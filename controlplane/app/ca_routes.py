"""/debug/ca: who signs, who is trusted, and where a rotation is; and the commands that change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controlplane.app.trust import Trust
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.rotation import RotationRefused
from controlplane.ca.signer import describe
from controlplane.telemetry.http import Response, Route

PATH = "/debug/ca"


def ca_routes(trust: Trust) -> tuple[Route, ...]:
    """The path: to be read, and from this machine to be told what to `do`."""
    about = "who signs, who is trusted, how far a rotation is"
    return (Route(PATH, about, lambda query: _shown(trust), lambda query: _done(trust, query)),)


def _shown(trust: Trust) -> dict[str, Any]:
    """What there is to know of the authority; nothing of it is secret."""
    authority = trust.authority
    changes = trust.rotation or trust.reload
    shown: dict[str, Any] = {
        "kind": "plugged in" if trust.rotation is None else "self-signed",
        "stage": "idle",
        "behind": list(changes.behind()) if changes else [],
        "signer": describe(authority.signer.certificate),
        "between": [describe(one) for one in authority.signer.between],
        "roots": [describe(one) for one in authority.roots],
        "bundle": "".join(one.decode() for one in authority.bundle.roots),
        "serving": trust.serving.current.serial,
    }
    if trust.rotation is not None:
        at = trust.rotation.progress()
        shown |= {"stage": at.stage, "since": at.since, "pause_left": at.pause_left, "held": at.held}
    return shown


def _done(trust: Trust, query: Mapping[str, str]) -> Any:
    """Do one thing, and show what there is then."""
    does: dict[str, Callable[[], object]] = {}
    if trust.rotation is not None:
        rotation = trust.rotation
        does |= {"rotate": rotation.start, "abandon": rotation.abandon, "advance": rotation.advance}
    if trust.reload is not None:
        does["reload"] = trust.reload.reload
    do = does.get(query.get("do", ""))
    if do is None:
        return _said(400, f"what can be done with this authority: {', '.join(sorted(does))}")
    try:
        do()
    except RotationRefused as error:
        return _said(409, str(error))
    except EnvironmentUnfit as error:
        return _said(503, str(error))
    return _shown(trust)


def _said(status: int, text: str) -> Response:
    return Response(status, body=f"{text}\n".encode())
