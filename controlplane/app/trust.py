"""What the control plane's trust is made of: the authority, what keeps its roots, and how they change.

Whoever proves an identity, and whoever hands certificates to proxies, is wired to this.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from controlplane.base.clock import Clock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca import plugged
from controlplane.ca.authority import Authority, Lifetimes
from controlplane.ca.keep import DirectoryKeeper, Keeper, MemoryKeeper, publish, write_bundle
from controlplane.ca.outstanding import Outstanding
from controlplane.ca.published import check_start
from controlplane.ca.reload import Reload
from controlplane.ca.rotation import Pace, Rotation, opened
from controlplane.ca.sds import Certificates
from controlplane.ca.serving import Serving, serving_names
from controlplane.model.certificate import TrustBundle
from controlplane.settings import Settings
from controlplane.xds.acknowledged import behind
from controlplane.xds.server import XdsServer
from controlplane.xds.view import GraphViews

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Trust:
    """The parts.  `rotation` is there when the root is ours, `reload` when a CA is plugged in."""

    authority: Authority
    serving: Serving
    outstanding: Outstanding
    rotation: Rotation | None = None
    reload: Reload | None = None
    certificates: Certificates | None = None

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs as long as the control plane does, by name; each is to be awaited once."""
        found = {"own certificate": self.serving.run()}
        if self.rotation is not None:
            found["root rotation"] = self.rotation.run()
        if self.reload is not None:
            found["plugged-in CA"] = self.reload.run()
        if self.certificates is not None:
            found["certificates"] = self.certificates.run()
        return found


def build_trust(settings: Settings, clock: Clock) -> Trust:
    """Make or load the authority, and write root-cert.pem, and the copy of it that proxies see.

    EnvironmentUnfit when keys or certificates cannot be read or kept, or do not fit together, or when
    those who trust the root-cert.pem that is there would not trust this authority.
    """
    made = partial(
        Authority,
        clock=clock,
        lifetimes=Lifetimes(settings.default_workload_cert_ttl, settings.max_workload_cert_ttl),
        key_type=settings.workload_key_type,
    )
    rotation = reload = None
    if settings.root_ca_dir is not None:
        found = plugged.load(settings.root_ca_dir, clock.wall())
        authority = made(found.signer, found.roots)
        reload = Reload(settings.root_ca_dir, authority, clock, partial(_publish, settings))
    else:
        keeper = _keeper(settings)
        roots = opened(keeper, clock, settings.self_signed_ca_cert_ttl)
        authority = made(roots.signer, roots.trusted)
        pace = Pace(pause=settings.root_rotation_pause, root_lifetime=settings.self_signed_ca_cert_ttl)
        rotation = Rotation(roots, keeper, authority, clock, pace)
    if settings.data_dir is not None:
        check_start(settings.data_dir, authority.signer, authority.roots, clock.wall())
    _publish(settings, authority.bundle)
    serving = Serving(authority, serving_names(settings.tls_name), clock)
    return Trust(authority, serving, Outstanding(authority, clock), rotation, reload)


def _keeper(settings: Settings) -> Keeper:
    if settings.data_dir is not None:
        return DirectoryKeeper(settings.data_dir, settings.publish_root_cert)
    if settings.secure_grpc_addr or settings.mtls_grpc_addr:
        _log.warning(
            "the root's key is in memory only: after a restart every proxy has to be told of another root; "
            "give a place that stays with --data-dir, or a CA of yours with --root-ca-dir"
        )
    return MemoryKeeper(settings.publish_root_cert)


def _publish(settings: Settings, bundle: TrustBundle) -> None:
    if settings.data_dir is not None:
        write_bundle(settings.data_dir, bundle)
    try:
        publish(settings.publish_root_cert, bundle)
    except EnvironmentUnfit as error:
        raise EnvironmentUnfit(f"--publish-root-cert: {error}") from error


def supply_certificates(trust: Trust, views: GraphViews, xds: XdsServer, clock: Clock) -> Certificates:
    """Give every proxy with an identity a certificate, and let a rotation wait until all have the newest."""
    supply = trust.certificates = Certificates(trust.authority, views.settler.commit, clock=clock)
    views.holders = supply

    def lagging() -> tuple[str, ...]:
        return tuple(sorted({*supply.waiting, *behind(xds.streams, views), *trust.outstanding.behind()}))

    for changes in (trust.rotation, trust.reload):
        if changes is not None:
            changes.behind = lagging
    return supply
