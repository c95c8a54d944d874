"""What was published before: root-cert.pem of the last run, held against who is to sign now.

While the control plane runs no step is taken that would break connections.  A restart must not be the way
around that: with other flags, other files or a lost folder another root would sign, the file that every
bootstrap points to would be overwritten, and no proxy could come back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.keep import ROOT_FILE
from controlplane.ca.pem import certificates
from controlplane.ca.signer import Signer, fingerprint

_log = logging.getLogger(__name__)

_DIGITS = 16


def check_start(data_dir: Path, signer: Signer, roots: Sequence[x509.Certificate], now: float) -> None:
    """Raise EnvironmentUnfit when the root of `signer` is none of those that were published in `data_dir`.

    Roots that have expired bind nobody.  Which of the others are trusted no more is logged.
    """
    path = data_dir / ROOT_FILE
    before = tuple(one for one in _published(path) if one.not_valid_after_utc.timestamp() > now)
    if before and signer.root not in before:
        raise EnvironmentUnfit(
            f"{path}: it holds {_named(before)}, and this control plane would sign under "
            f"{_named((signer.root,))}: no proxy that was told of the first would come back. Start with the "
            "authority of the last run and change the root step by step (docs/certificates.md), or remove "
            "the file for a new beginning, of which every proxy then has to be told"
        )
    gone = [one for one in before if one not in roots]
    if gone:
        _log.warning(
            "roots that were trusted in the last run are trusted no more", extra={"roots": _named(gone)}
        )


def _published(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise EnvironmentUnfit(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return certificates(data, str(path))
    except EnvironmentUnfit as error:
        # It is made anew from what is kept; nobody can have read a root from it.
        _log.warning("the published roots are damaged, and written anew", extra={"reason": str(error)})
        return ()


def _named(roots: Sequence[x509.Certificate]) -> str:
    return " and ".join(
        f"the root {one.subject.rfc4514_string() or '(no subject)'} (sha256 {fingerprint(one)[:_DIGITS]})"
        for one in roots
    )
