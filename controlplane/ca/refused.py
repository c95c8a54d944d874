"""Why a certificate was not issued: a word that counts, and a sentence for whoever asked."""

from __future__ import annotations

from typing import Literal

from controlplane.base.errors import MiniIstiodError

Kind = Literal["CSR_ERROR", "TTL_ERROR", "CA_NOT_READY", "TOO_MANY"]
"""As in the label of `citadel_server_csr_sign_err_count`; all but the last are Istio's words."""


class Refused(MiniIstiodError):
    """No certificate, because of what was asked (`CSR_ERROR`, `TTL_ERROR`), how often (`TOO_MANY`), or who
    signs (`CA_NOT_READY`)."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
