"""The rows of Istio's feature switches, under Istio's names; what they mean is in `mesh.features`."""

from __future__ import annotations

from controlplane.base import parse
from controlplane.settings.option import BOOLEAN, Option

FEATURES: tuple[Option, ...] = (
    Option(
        "tls_on_sidecar_ingress",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether the `tls` of a Sidecar's ingress listener counts",
        "ENABLE_TLS_ON_SIDECAR_INGRESS",
    ),
    Option(
        "ip_autoallocate",
        parse.boolean,
        "true",
        BOOLEAN,
        "whether ServiceEntries without addresses are given one of 240.240.0.0/16",
        "PILOT_ENABLE_IP_AUTOALLOCATE",
    ),
)
