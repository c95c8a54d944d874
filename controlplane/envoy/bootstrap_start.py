"""What objects say of a proxy's start, in its bootstrap and, where that cannot say it, in Envoy's flags."""

from __future__ import annotations

from typing import Any

from controlplane.envoy.bootstrap_trust import Json
from controlplane.model.duration import MILLISECOND, SECOND
from controlplane.model.kinds.proxy_start import ProxyStart

_WORDS = {"true": True, "false": False}


def started(content: Json, start: ProxyStart) -> Json:
    """A bootstrap that keeps these statistics and has these keys of the runtime."""
    stats: Any = content["stats_config"]
    runtime: Any = content["layered_runtime"]
    matcher = stats["stats_matcher"]["inclusion_list"]
    first, *others = runtime["layers"]
    keys = {name: _typed(value) for name, value in start.runtime}
    static = {**first, "static_layer": {**first["static_layer"], **keys}}
    patterns = [*matcher["patterns"], *_patterns(start)]
    return {
        **content,
        "stats_config": {**stats, "stats_matcher": {"inclusion_list": {"patterns": patterns}}},
        "layered_runtime": {**runtime, "layers": [static, *others]},
    }


def flags(start: ProxyStart) -> tuple[str, ...]:
    """What has to stand on Envoy's command line."""
    found = []
    if start.drain_duration is not None:
        found.append(f"--drain-time-s {max(1, start.drain_duration // SECOND)}")
    if start.file_flush_interval is not None:
        found.append(f"--file-flush-interval-msec {start.file_flush_interval // MILLISECOND}")
    if start.file_flush_min_size_kb is not None:
        found.append(f"--file-flush-min-size-kb {start.file_flush_min_size_kb}")
    return tuple(found)


def _patterns(start: ProxyStart) -> list[Json]:
    said = start.stats
    found: list[Json] = [{"prefix": one} for one in said.prefixes]
    found += [{"suffix": one} for one in said.suffixes]
    return found + [{"safe_regex": {"regex": one}} for one in said.regexps]


def _typed(text: str) -> Any:
    """A value of the runtime: Envoy tells numbers and truth from text by their type."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        return int(text)
    except ValueError:
        return text
