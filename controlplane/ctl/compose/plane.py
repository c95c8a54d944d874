"""The services of the mesh itself: the control plane, the two jobs beside it, and a gateway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from controlplane.ctl.compose.emit import Alias, Inline, Output
from controlplane.ctl.compose.service import PROXY
from controlplane.ctl.compose.sidecar import CONFINED, PLANE, PROVISION, ROOTS, volume

DOCKER = "mini-istiod-docker"
GATEWAY = "ingressgateway"
STATE = "mesh-state"
SOCKET = "mesh-docker"
VOLUMES = (STATE, ROOTS, SOCKET)

_DATA = f"{STATE}:/var/lib/mini-istiod"
_ROOTS = f"{ROOTS}:/etc/mini-istiod-roots"
# Until it is healthy it is asked every second, so that what waits for it starts soon; then every ten.
_PROBE = "[[ ! -e /dev/shm/ready ]] || sleep 9; mini-istiod healthy && : > /dev/shm/ready"
_SOCKET_DIR = "/run/mini-istiod-docker"


class Proxy(NamedTuple):
    """An Envoy that needs a bootstrap and a token: whose sidecar it is, and what its pod is called."""

    service: str
    name: str
    account: str
    labels: tuple[tuple[str, str], ...] = ()
    router: bool = False

    @property
    def flag(self) -> str:
        """How `mini-istiod provision` is told of it."""
        kind = ("router",) if self.router else ()
        return ",".join((f"{self.name}=default/{self.account}", *kind, *(f"{k}={v}" for k, v in self.labels)))


class Around(NamedTuple):
    """What the services of the mesh have to do with those of the user."""

    networks: Sequence[str]
    profiles: Sequence[str]


def control_plane(image: str, mesh_dir: str, around: Around) -> dict[str, Output]:
    """`mini-istiod`, in every network in which there is a sidecar."""
    return {
        "image": image,
        **_gated(around),
        "command": [
            "discovery",
            "--config-dir=/mesh",
            f"--docker=unix:{_SOCKET_DIR}/docker.sock",
            "--data-dir=/var/lib/mini-istiod",
            "--publish-root-cert=/etc/mini-istiod-roots/root-cert.pem",
            "--secure-grpc-addr=:15012",
            "--monitoring-addr=0.0.0.0:15014",
            # Compose 1.29 kills orphans: who asks them has to know a tenth of a second sooner.
            "--eds-debounce=false",
        ],
        **CONFINED,
        "volumes": [f"{mesh_dir}:/mesh:ro", _DATA, _ROOTS, f"{SOCKET}:{_SOCKET_DIR}:ro"],
        "networks": Inline(list(around.networks)),
        "depends_on": {
            PROVISION: Inline({"condition": "service_completed_successfully"}),
            DOCKER: Inline({"condition": "service_started"}),
        },
        "healthcheck": {
            "test": Inline(["CMD", "bash", "-c", _PROBE]),
            "interval": "1s",
            "timeout": "15s",
            "start_period": "60s",
            "retries": 3,
        },
        "restart": "unless-stopped",
    }


def provision(image: str, proxies: Iterable[Proxy], around: Around) -> dict[str, Output]:
    """The job that makes a bootstrap and a token for each proxy, in a volume that only its Envoy mounts."""
    known = list(proxies)
    return {
        "image": image,
        **_gated(around),
        "user": "0:0",
        "command": [
            "provision",
            "--data-dir=/var/lib/mini-istiod",
            f"--xds-address={PLANE}:15012",
            "--root-file=/etc/mini-istiod-roots/root-cert.pem",
            "--seen-at=/etc/mini-istiod",
            "--out=/proxies",
            *(f"--proxy={one.flag}" for one in known),
        ],
        **CONFINED,
        "cap_add": Inline(["CHOWN", "DAC_OVERRIDE"]),
        "network_mode": "none",
        "healthcheck": Inline({"disable": True}),
        "volumes": [_DATA, *(f"{volume(one.service)}:/proxies/{one.name}" for one in known)],
    }


def docker_proxy(image: str, around: Around) -> dict[str, Output]:
    """Who has Docker's socket has the machine; the control plane gets one with five questions."""
    return {
        "image": image,
        **_gated(around),
        "user": "0:0",
        "command": [
            "docker-proxy",
            f"--listen=unix:{_SOCKET_DIR}/docker.sock",
            "--docker=unix:/var/run/docker.sock",
        ],
        **CONFINED,
        "network_mode": "none",
        "healthcheck": Inline({"disable": True}),
        "volumes": [
            "${DOCKER_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock:ro",
            f"{SOCKET}:{_SOCKET_DIR}",
        ],
        "restart": "unless-stopped",
    }


def gateway(template: Alias, around: Around) -> dict[str, Output]:
    """An Envoy alone, which Istio's Gateways select; only this machine reaches it."""
    return {
        "<<": template,
        **_gated(around),
        "ports": ["127.0.0.1:${INGRESS_PORT:-8080}:80"],
        "networks": Inline(list(around.networks)),
        "labels": {PROXY: GATEWAY, "istio": GATEWAY},
        "volumes": [f"{volume(GATEWAY)}:/etc/mini-istiod:ro", f"{ROOTS}:/etc/mini-istiod-roots:ro"],
    }


GATEWAY_PROXY = Proxy(GATEWAY, GATEWAY, GATEWAY, (("istio", GATEWAY),), router=True)


def _gated(around: Around) -> dict[str, Output]:
    return {"profiles": Inline(list(around.profiles))} if around.profiles else {}
