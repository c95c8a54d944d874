"""Claims of tokens, as routes name them in place of a header.

    @request.auth.claims.a.b    dots lead into nested claims
    @request.auth.claims[a][b]  so do brackets, for names that hold dots

https://istio.io/latest/docs/tasks/security/authentication/jwt-route/
"""

from __future__ import annotations

import re

PREFIX = "@request.auth.claims"
_BRACKETS = re.compile(r"(?:\[[^\[\]]+\])+")


def is_claim(name: str) -> bool:
    """Whether the name of a header means a claim, though perhaps none that there can be."""
    return name.startswith(PREFIX)


def claim_path(name: str) -> tuple[str, ...]:
    """The names that lead to a claim, outermost first; () where the text names none."""
    rest = name.removeprefix(PREFIX)
    if rest == name:
        return ()
    if rest.startswith("."):
        parts = tuple(rest[1:].split("."))
        return parts if all(parts) else ()
    return tuple(rest[1:-1].split("][")) if _BRACKETS.fullmatch(rest) else ()
