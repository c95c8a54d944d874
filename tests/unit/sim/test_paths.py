"""What Envoy makes of paths, and of regular expressions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.sim.paths import normalized
from controlplane.sim.regexes import fully, replaced
from controlplane.sim.routes import template_matches
from controlplane.sim.walk import CannotTell


def manager(*, normalize: bool = True, merge: bool = False, slashes: int = 1) -> Any:
    flag = SimpleNamespace(value=normalize)
    return SimpleNamespace(normalize_path=flag, merge_slashes=merge, path_with_escaped_slashes_action=slashes)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/../../a", "/a"),
        ("/a//b/../c", "/a//c"),
        ("/%61%2Fb", "/a%2Fb"),
        ("/a\\b", "/a/b"),
        ("/a/%2e%2e/b?c=/../d", "/b?c=/../d"),
        ("/", "/"),
    ],
)
def test_normalization(path: str, expected: str) -> None:
    assert normalized(manager(), path) == (expected, 0)
    assert normalized(manager(normalize=False), path) == (path, 0)


def test_slashes() -> None:
    assert normalized(manager(merge=True), "/a///b//") == ("/a/b/", 0)
    assert normalized(manager(slashes=4), "/a%2Fb%5cc") == ("/a/b/c", 0)
    assert normalized(manager(slashes=3), "/a%2fb") == ("/a/b", 307)
    assert normalized(manager(slashes=2), "/a%2fb") == ("/a%2fb", 400)
    assert normalized(manager(), "/a#b") == ("/a#b", 400)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("/info/[0-9]+", "/info/12", True),
        ("/info/[0-9]+", "/info/12/", False),
        ("^/a$", "/a", True),
        ("/a$", "/a\n", False),
        ("[[:alpha:]_]+", "a_b", True),
        ("[[:alpha:]]+", "a1", False),
        ("[]a]+", "]a", True),
        (r"\Qa.b\E.", "a.bc", True),
        (r"\Qa.b\E", "axb", False),
        ("(?i)ABC", "abc", True),
        ("(?<word>a)b", "ab", True),
        (r"\d+", "\u0663", False),
        (r"a\z", "a", True),
    ],
)
def test_regexes(pattern: str, text: str, expected: bool) -> None:
    assert fully(pattern, text) is expected


@pytest.mark.parametrize("pattern", [r"\pL+", "(", "[[:nothing:]]", "\\C"])
def test_what_only_re2_reads(pattern: str) -> None:
    with pytest.raises(CannotTell):
        fully(pattern, "a")


@pytest.mark.parametrize(
    ("pattern", "text", "substitution", "expected"),
    [
        ("/info/(.*)", "/info/a", r"/told/\1", "/told/a"),
        ("i", "/info/id", "I", "/Info/Id"),
        ("x*", "abxd", "-", "-a-b-d-"),
        ("(a)(b)?", "aab", r"[\1\2\0]", "[aa][abab]"),
        ("z", "abc", "-", "abc"),
        ("a$", "a\n", "-", "a\n"),
        ("b", "abc", r"\\1", r"a\1c"),
    ],
)
def test_substitutions(pattern: str, text: str, substitution: str, expected: str) -> None:
    assert replaced(pattern, text, substitution) == expected


def test_templates() -> None:
    assert template_matches("/a/*/b", "/a/x/b")
    assert not template_matches("/a/*/b", "/a/x/y/b")
    assert template_matches("/a/**", "/a/x/y")
    assert not template_matches("/a.b", "/axb")
