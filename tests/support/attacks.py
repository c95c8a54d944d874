"""What every attack comes to: it is refused, the log says who, from where and why, and shows no secret."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytest

LEAST = 20
"""Characters from which on a text may be a secret; shorter ones stand in a log by chance."""


def line(caplog: pytest.LogCaptureFixture, has: str) -> dict[str, Any]:
    """The first warning that says such a thing; empty if there is none."""
    found = (vars(one) for one in caplog.records if one.levelno >= logging.WARNING)
    return next((one for one in found if has in one), {})


def told(caplog: pytest.LogCaptureFixture, *secrets: str | bytes, has: str = "cause") -> dict[str, Any]:
    """What the log says of who was turned away; fails if that is too little, or if a line shows a secret."""
    assert_hidden(caplog, secrets)
    said = line(caplog, has)
    assert said, "nothing is in the log"
    assert said.get("reason") or said.get("names"), said
    assert said.get("peer") or said.get("door") or said.get("connection"), said
    return said


def assert_hidden(caplog: pytest.LogCaptureFixture, secrets: Iterable[str | bytes]) -> None:
    """No line shows a secret, or what begins every private key."""
    text = " ".join(repr(vars(record)) for record in caplog.records)
    assert "PRIVATE KEY" not in text
    for secret in secrets:
        plain = secret if isinstance(secret, str) else secret.decode()
        assert len(plain) < LEAST or plain not in text
