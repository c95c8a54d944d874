"""The label by which an injector says that a workload has a sidecar with a certificate."""

from __future__ import annotations

from controlplane.model.keys import Labels

TLS_MODE = "security.istio.io/tlsMode"
MUTUAL = "istio"
"""Its value where mutual TLS is taken."""


def said_mutual(labels: Labels, default: bool = False) -> bool:
    """Whether the labels say that mutual TLS is taken; `default` where they do not say."""
    mode = next((value for name, value in labels if name == TLS_MODE), "")
    return mode == MUTUAL if mode else default
