"""The nat rules that put a sidecar into the path of a workload, as text for `iptables-restore`.

Connections that a workload opens arrive at 15001 and connections to it at 15006, both by REDIRECT, so
that Envoy reads the original destination with SO_ORIGINAL_DST.  Chains, order and meaning are those of
istio-init (https://istio.io/latest/docs/ops/deployment/application-requirements/), so that a pod made
here and a pod made by Istio treat every packet alike.
"""

from __future__ import annotations

from dataclasses import dataclass

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
TUNNEL_PORT = 15008
PROXY_UID = 1337

# The address that Envoy binds when it hands an inbound connection to the application.
_INBOUND_SOURCE = "127.0.0.6/32"


@dataclass(frozen=True, slots=True)
class Interception:
    """What is redirected, and whose packets are not.

    `exclude_inbound` are ports that the proxy itself (15020, 15021, 15090) serves; the tunnel port is
    always left out.  `proxy_uid` is the user and group that Envoy runs as: its own packets pass.
    """

    proxy_uid: int = PROXY_UID
    outbound_port: int = OUTBOUND_PORT
    inbound_port: int = INBOUND_PORT
    exclude_inbound: tuple[int, ...] = (15020, 15021, 15090)


def nat_rules(interception: Interception) -> str:
    """The whole nat table as `iptables-restore` reads it: sorted, complete, ending with a newline."""
    lines = [
        "*nat",
        *(f":{chain} - [0:0]" for chain in _CHAINS),
        *_redirects(interception),
        *_inbound(interception),
        *_outbound(interception),
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


_CHAINS = ("ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT")


def _redirects(interception: Interception) -> list[str]:
    return [
        f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {interception.outbound_port}",
        f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {interception.inbound_port}",
    ]


def _inbound(interception: Interception) -> list[str]:
    passed = sorted({TUNNEL_PORT, *interception.exclude_inbound})
    return [
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        *(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in passed),
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    ]


def _outbound(interception: Interception) -> list[str]:
    owner = interception.proxy_uid
    rules = [
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        # Envoy's hand-over to the application must not come back to Envoy.
        f"-A ISTIO_OUTPUT -o lo -s {_INBOUND_SOURCE} -j RETURN",
    ]
    for match in ("--uid-owner", "--gid-owner"):
        rules += [
            # A workload that calls itself through its service: Envoy picked this very pod as the
            # endpoint, so the packet leaves on lo and has to enter as any inbound connection does.
            f"-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport {TUNNEL_PORT}"
            f" -m owner {match} {owner} -j ISTIO_IN_REDIRECT",
            # The application talks to itself without the mesh, and Envoy's own calls go out as they are.
            f"-A ISTIO_OUTPUT -o lo -m owner ! {match} {owner} -j RETURN",
            f"-A ISTIO_OUTPUT -m owner {match} {owner} -j RETURN",
        ]
    return [
        *rules,
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
    ]
