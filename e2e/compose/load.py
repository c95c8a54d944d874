"""Load on a published port: a steady number of requests, every one of them accounted for."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What became of one request.  `status` is 0 without an answer; `error` is "" for a good one."""

    second: float
    status: int
    error: str
    page: Mapping[str, Any]


def ask(port: int, path: str = "/productpage", host: str = "bookstore.local") -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        return _ask(connection, path, host)
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str, host: str) -> Answer:
    started = time.monotonic()
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Answer(started, 0, f"{type(error).__name__}: {error}", {})
    if response.status != 200:
        return Answer(
            started, response.status, f"{response.status} {body[:200].decode(errors='replace')}", {}
        )
    try:
        page = json.loads(body)
    except ValueError:
        return Answer(started, 200, f"no JSON: {body[:200]!r}", {})
    return Answer(started, 200, _broken_hop(page), page)


def _broken_hop(page: Mapping[str, Any]) -> str:
    # The product page answers even if a service behind it does not; a reader would miss something.
    if "error" in page:
        return f"{page.get('name')}: {page['error']}"
    return next((broken for hop in page.get("hops", ()) if (broken := _broken_hop(hop))), "")


def hop(answer: Answer, service: str) -> Mapping[str, Any]:
    """What a service answered to the product page, {} when it was not asked."""
    found = [part for part in answer.page.get("hops", ()) if part.get("name") == service]
    return found[0] if found else {}


def versions(answers: list[Answer], service: str = "reviews") -> Counter[str]:
    """How often each version of a service answered."""
    return Counter(str(hop(answer, service).get("version", "none")) for answer in answers)


class Load:
    """Requests from `workers` connections, each with `pause` seconds after an answer, while the block runs.

    `answers` holds all of them after the block, `failed` those that were not good.
    """

    def __init__(
        self, port: int, *, workers: int = 4, pause: float = 0.04, path: str = "/productpage"
    ) -> None:
        self.answers: list[Answer] = []
        self._port, self._path, self._pause = port, path, pause
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
        while not self._end.is_set():
            self.answers.append(_ask(connection, self._path, "bookstore.local"))
            self._end.wait(self._pause)
        connection.close()

    @property
    def failed(self) -> list[Answer]:
        """The answers that were not good, oldest first."""
        return sorted((answer for answer in self.answers if answer.error), key=lambda answer: answer.second)

    def said(self) -> str:
        """One line for a report, and what failed, if anything did."""
        failed = self.failed
        kinds = Counter(answer.error for answer in failed)
        return f"{len(self.answers)} requests, {len(failed)} failed {dict(kinds) if kinds else ''}".rstrip()
