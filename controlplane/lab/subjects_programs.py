"""Where the programs of other control planes are: built once, found by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit

_CHECKOUT = Path(__file__).resolve().parents[2]


def built_in(env: Mapping[str, str], checkout: Path = _CHECKOUT) -> Path:
    """The folder of built programs: MINI_ISTIOD_PEERS if set, the checkout's tools, or the user's cache.

    MINI_ISTIOD_PEERS may be relative.  The answer to it is absolute, as programs are run in other folders.
    """
    if named := env.get("MINI_ISTIOD_PEERS"):
        return Path(named).absolute()
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".tools/peers"
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "/root")) / ".cache")
    return cache / "mini-istiod/peers"


def find(name: str, env: Mapping[str, str], checkout: Path = _CHECKOUT) -> Path:
    """The program; EnvironmentUnfit says how to get it when it is not there."""
    program = built_in(env, checkout) / name
    if program.is_file() and os.access(program, os.X_OK):
        return program
    raise EnvironmentUnfit(
        f"{program} is missing: build it with `python -m bench.peers {name}` in a checkout (it needs Go's"
        " module proxy), or name the folder that has it in MINI_ISTIOD_PEERS"
    )
