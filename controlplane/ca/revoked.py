"""What is revoked: single tokens by their id, and all that a service account was given before a moment.

The list is a file in the data directory.  Whoever revokes replaces it as a whole; a running control plane
looks whether it is another one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca import keep

_FILE = "revoked.json"


@dataclass(frozen=True, slots=True)
class Revoked:
    """`tokens` by id, with their expiry, after which they need not be remembered; `accounts`
    ("namespace/name") with the moment before which nothing counts.  Unix seconds."""

    tokens: dict[str, float] = field(default_factory=dict)
    accounts: dict[str, float] = field(default_factory=dict)

    def reason(self, token: str, account: str, issued: float) -> str:
        """Why a credential of that account does not count; "" when it does."""
        if token and token in self.tokens:
            return "the token is revoked"
        if issued < self.accounts.get(account, -math.inf):
            return "what its service account was given is revoked"
        return ""

    def without(self, token: str, expires: float, now: float) -> Revoked:
        """The list with one token more, and without those that have expired by themselves."""
        kept = {id: end for id, end in self.tokens.items() if end > now}
        return replace(self, tokens={**kept, token: expires})

    def until(self, account: str, now: float) -> Revoked:
        """The list with an account whose credentials count from the next whole second on."""
        return replace(self, accounts={**self.accounts, account: math.floor(now) + 1.0})


class RevokedFile:
    """The list as it is on disk; `now` is read again when the file is another one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._print: tuple[int, int, int] | None = None
        self._held = Revoked()

    def now(self) -> Revoked:
        """The list; raises `EnvironmentUnfit` when it cannot be read: then nothing may be believed."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            if self._print is not None:
                raise EnvironmentUnfit(f"{self._path}: it was there and is gone") from None
            return self._held
        except OSError as error:
            raise EnvironmentUnfit(f"{self._path}: {error.strerror}") from error
        found = (state.st_mtime_ns, state.st_ino, state.st_size)
        if found != self._print:
            self._held = self._read()
            self._print = found
        return self._held

    def write(self, revoked: Revoked) -> None:
        """Put this list in the place of the last."""
        value = {"tokens": revoked.tokens, "accounts": revoked.accounts}
        keep.replace(self._path, json.dumps(value, indent=1, sort_keys=True).encode(), 0o600)

    def _read(self) -> Revoked:
        try:
            value = json.loads(self._path.read_text())
            tokens = {str(id): float(end) for id, end in value["tokens"].items()}
            accounts = {str(name): float(moment) for name, moment in value["accounts"].items()}
        except OSError as error:
            raise EnvironmentUnfit(f"{self._path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EnvironmentUnfit(f"{self._path}: it is damaged; restore it from a copy") from None
        return Revoked(tokens, accounts)
