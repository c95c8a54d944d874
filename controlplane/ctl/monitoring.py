"""The monitoring port of a control plane, as a client sees it."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from controlplane.base.errors import MiniIstiodError

DEFAULT = "http://127.0.0.1:15014"

T = TypeVar("T")

# A control plane is on this machine or in this cluster: a proxy meant for the web cannot reach it.
_direct = build_opener(ProxyHandler({}))


class NoAnswerError(MiniIstiodError):
    """The control plane did not answer, or not with what was asked for; the message says what happened."""


def fetch(base: str, path: str, kind: type[T], timeout: float, *, post: bool = False, token: str = "") -> T:
    """The JSON that `path` answers, which must be a `kind`: list or dict.

    `base` is a URL or HOST:PORT; `timeout` is the seconds for each wait.  `post` asks for a change.  `token`
    is shown to a control plane on another machine.
    """
    url = (base if "://" in base else f"http://{base}").rstrip("/") + path
    if not url.startswith(("http://", "https://")):
        raise NoAnswerError(f"{base}: give http://HOST:PORT or HOST:PORT of the monitoring port")
    request = Request(url, data=b"" if post else None)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with _direct.open(request, timeout=timeout) as answer:
            found = json.load(answer)
    except HTTPError as error:
        with error:
            detail = error.read(500).decode(errors="replace").strip()
        raise NoAnswerError(f"{url} answered {error.code}: {detail}") from error
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise NoAnswerError(f"cannot reach {url}: {reason}; is mini-istiod running there?") from error
    except ValueError as error:
        raise NoAnswerError(f"{url} did not answer with JSON: is that the monitoring port?") from error
    if not isinstance(found, kind):
        raise NoAnswerError(f"{url} answered with other JSON than expected: is that the monitoring port?")
    return found
