"""The authority as the control plane has it: signing requests at its doors, metrics under Istio's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from controlplane.app.trust import Trust
from controlplane.base.allowance import Allowance
from controlplane.base.clock import Clock
from controlplane.ca.authority import Authority
from controlplane.ca.service import CertificateService, Count, Event
from controlplane.telemetry.metrics import Metrics
from controlplane.xds.doors import Access


def serving_requests(access: Access, trust: Trust, metrics: Metrics, clock: Clock) -> Access:
    """The same doors, at which signing requests are served, too."""
    service = CertificateService(
        trust.authority, access.authenticator, Allowance(clock), _counted(metrics), trust.outstanding.note
    )
    return replace(access, services=service.handlers)


def _counted(metrics: Metrics) -> Count:
    """What the certificate service tells, counted."""
    plain = {
        "asked": metrics.csr,
        "issued": metrics.csr_issued,
        "unparsable": metrics.csr_unparsable,
        "unauthenticated": metrics.csr_unauthenticated,
        "nobody": metrics.csr_nobody,
    }

    def count(event: Event, kind: str) -> None:
        if event == "unsigned":
            metrics.csr_unsigned.inc(kind)
        else:
            plain[event].inc()

    return count


def show_expiry(metrics: Metrics, authority: Authority, clock: Clock) -> None:
    """Let the gauges of expiry be asked of the authority whenever metrics are read."""

    def root() -> float:
        return authority.signer.root.not_valid_after_utc.timestamp()

    def chain() -> float:
        return authority.signer.not_after

    def left(end: Callable[[], float]) -> Callable[[], float]:
        return lambda: end() - clock.wall()

    for what, end in (("root_cert", root), ("cert_chain", chain)):
        timestamp, seconds = metrics.ca_expiry[what]
        timestamp.set_function(end)
        seconds.set_function(left(end))
