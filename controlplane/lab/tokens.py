"""Tokens for the lab's pods: of the control plane's own issuer, as `mini-istiod token create` makes them."""

from __future__ import annotations

import time
from pathlib import Path

from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Wish
from controlplane.lab.volumes import Account, Mint

LIFETIME = 24 * 3600.0


def minter(data_dir: Path, lifetime: float = LIFETIME) -> Mint:
    """Makes tokens that are valid for so many seconds, with the key in a control plane's data directory."""
    store = TokenStore(data_dir)

    def mint(account: Account) -> str:
        wish = Wish(account.namespace, account.service_account, lifetime, pod=account.pod)
        token, _ = store.issue(wish, time.time())
        return token

    return mint
