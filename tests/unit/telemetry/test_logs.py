"""Log lines: what they hold, what a peer cannot do to them, and how repetition is held back."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.telemetry.logs import JsonLines, Lines, Sparingly, configure


def record(message: str = "a sentence", level: int = logging.WARNING, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "controlplane.xds.stream", "msg": message, "created": 0.5, **extra})
    made.levelno, made.levelname = level, logging.getLevelName(level)
    return made


@pytest.fixture
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("controlplane")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_a_line_has_time_level_scope_sentence_and_fields() -> None:
    line = Lines().format(record(proxy="a.default", nonce="", seconds=0.12345678, types=("cds", "eds")))
    assert line == (
        "1970-01-01T00:00:00.500Z WARNING xds.stream: a sentence "
        'proxy=a.default nonce="" seconds=0.123457 types=cds,eds'
    )


def test_a_peer_cannot_forge_a_line_or_a_field() -> None:
    line = Lines().format(record("bad node\n\x1b[31m", proxy='a\n2026 ERROR x: "y" z=1', other="\u2028"))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert r'proxy="a\n2026 ERROR x: \"y\" z=1"' in line


def test_a_terminal_gets_colour_and_a_short_time() -> None:
    line = Lines(terminal=True).format(record())
    assert "\x1b[33mWARNING\x1b[0m" in line
    assert "1970" not in line


def test_a_json_line_holds_the_same() -> None:
    line = json.loads(JsonLines().format(record("is %s", args=("so",), level_=1, scope="x", what={1, 2})))
    assert line == {
        "time": "1970-01-01T00:00:00.500000+00:00",
        "level": "warning",
        "scope": "controlplane.xds.stream",
        "message": "is so",
        "level_": 1,
        "scope_": "x",
        "what": "{1, 2}",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_shown(restored: None, form: str) -> None:
    out = io.StringIO()
    configure("info", form, out)
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("controlplane.x").exception("a task failed")
    assert "a task failed" in out.getvalue()
    assert "KeyError: 'lost'" in out.getvalue()
    assert "test_logs.py" in out.getvalue()


def test_levels_hold_for_this_package_and_libraries_are_quiet(restored: None) -> None:
    out = io.StringIO()
    configure("debug", "text", out)
    logging.getLogger("controlplane.x").debug("ours")
    logging.getLogger("library").info("theirs")
    configure("warning", "text", out)
    logging.getLogger("controlplane.x").info("hidden")
    logging.getLogger("library").warning("once")
    assert "ours" in out.getvalue()
    assert "theirs" not in out.getvalue()
    assert "hidden" not in out.getvalue()
    assert out.getvalue().count("once") == 1


def test_unknown_levels_and_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        configure("loud")
    with pytest.raises(ValueError, match="xml"):
        configure("info", "xml")


def test_repeated_warnings_are_held_back_and_counted() -> None:
    now = 0.0
    sparingly = Sparingly(burst=3, interval=60.0, now=lambda: now)
    assert [sparingly.filter(record(proxy=str(n))) for n in range(10)] == [True] * 3 + [False] * 7
    now = 61.0
    later = record()
    assert sparingly.filter(later)
    assert vars(later)["suppressed"] == 7
    again = record()
    assert sparingly.filter(again)
    assert "suppressed" not in vars(again)


def test_other_sentences_news_and_bugs_pass() -> None:
    sparingly = Sparingly(burst=1, interval=60.0, now=lambda: 0.0)
    sparingly.filter(record())
    assert not sparingly.filter(record())
    assert sparingly.filter(record("another sentence"))
    assert all(sparingly.filter(record(level=logging.INFO)) for _ in range(5))
    assert all(sparingly.filter(record(exc_info=(ValueError, ValueError(), None))) for _ in range(5))


def test_the_memory_of_sentences_is_bounded() -> None:
    sparingly = Sparingly(now=lambda: 0.0)
    for n in range(5000):
        sparingly.filter(record(f"sentence {n}"))
    assert len(sparingly._seen) <= 1000
