"""The nat rules that put a sidecar into the path of a workload, as text for `iptables-restore`.

Connections that a workload opens arrive at 15001 and connections to it at 15006, both by REDIRECT, so
that Envoy reads the original destination with SO_ORIGINAL_DST.  Chains, order and meaning are those of
istio-init (https://istio.io/latest/docs/ops/deployment/application-requirements/), so that a pod made
here and a pod made by Istio treat every packet alike.

With DNS capture the workload's queries by UDP arrive at 15053 as well.  Istio sends those by TCP there too,
to an agent; Envoy answers UDP alone, so those (a client's second try, for a long answer) go to the resolver.

The text is for `--noflush`: it fills chains of its own, and touches nothing else of the table, in which
others have rules, too.  In a container those are Docker's, by which 127.0.0.11 answers names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
TUNNEL_PORT = 15008
DNS_PORT = 15053
PROXY_UID = 1337
OWN_PORTS = (15020, 15021, 15090)
"""What the proxy itself serves: an agent's port, readiness, statistics."""
DOCKERS_DNS = IPv4Network("127.0.0.11/32")

Family: TypeAlias = Literal[4, 6]
Network: TypeAlias = IPv4Network | IPv6Network

# The address that Envoy binds when it hands an inbound connection to the application.
_INBOUND_SOURCE = {4: "127.0.0.6/32", 6: "::6/128"}
_LOOPBACK = {4: "127.0.0.1/32", 6: "::1/128"}
_CHAINS = ("ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT")
_JUMPS = ("-A PREROUTING -p tcp -j ISTIO_INBOUND", "-A OUTPUT -p tcp -j ISTIO_OUTPUT")
_DNS_CHAIN = "ISTIO_OUTPUT_DNS"
# As iptables-save writes it.  It goes first: Docker's own rules for its resolver would else be met before.
_DNS_JUMP = "-A OUTPUT -p udp -m udp --dport 53 -j ISTIO_OUTPUT_DNS"


@dataclass(frozen=True, slots=True)
class Interception:
    """What is redirected, and whose packets are not.

    `exclude_inbound` are ports that are not redirected; the tunnel port never is.  `proxy_uid` is the user
    and, unless `proxy_gid` is another, the group that Envoy runs as: its own packets pass.  None of
    `include_inbound` and `include_outbound` is all; `include_outbound_ports` are redirected beside networks.
    What comes in or leaves by `exclude_interfaces` passes, and what goes to `resolvers` on this machine.
    `capture_dns`: queries to these name servers are redirected, None = to any; () = none are.
    """

    proxy_uid: int = PROXY_UID
    proxy_gid: int | None = None
    outbound_port: int = OUTBOUND_PORT
    inbound_port: int = INBOUND_PORT
    include_inbound: tuple[int, ...] | None = None
    exclude_inbound: tuple[int, ...] = OWN_PORTS
    include_outbound: tuple[Network, ...] | None = None
    exclude_outbound: tuple[Network, ...] = ()
    include_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    resolvers: tuple[Network, ...] = ()
    capture_dns: tuple[Network, ...] | None = ()
    dns_port: int = DNS_PORT


def nat_rules(interception: Interception, family: Family = 4, standing: str = "") -> str:
    """The rules of IPv4 or IPv6 as `iptables-restore --noflush` reads them, ending with a newline.

    `standing` is what `iptables-save -t nat` says now: jumps that are there already are not added again, so
    that a second run leaves what the first did.  The chains are filled anew, in one step with the rest.
    """
    there = set(standing.splitlines())
    # IPv6 has none: the proxy answers names on 127.0.0.1.
    dns = _dns(interception) if family == 4 else []
    chains = (*_CHAINS, _DNS_CHAIN) if dns else _CHAINS
    lines = [
        "*nat",
        *(f":{chain} - [0:0]" for chain in chains),
        *(jump for jump in _JUMPS if jump not in there),
        *([_DNS_JUMP.replace("-A OUTPUT", "-I OUTPUT 1")] if dns and _DNS_JUMP not in there else ()),
        *_redirects(interception),
        *dns,
        *_inbound(interception),
        *_outbound(interception, family),
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


def removal(standing: str) -> str:
    """What takes these rules away again, as `iptables-restore --noflush` reads it; "" when none is there."""
    there = set(standing.splitlines())
    ours = (*_CHAINS, _DNS_CHAIN)
    chains = [chain for chain in ours if any(line.startswith(f":{chain} ") for line in there)]
    lines = [jump.replace("-A", "-D", 1) for jump in (*_JUMPS, _DNS_JUMP) if jump in there]
    lines += [f"-F {chain}" for chain in chains]
    lines += [f"-X {chain}" for chain in chains]
    return "\n".join(["*nat", *lines, "COMMIT"]) + "\n" if lines else ""


def are_there(standing: str) -> bool:
    """Whether `iptables-save -t nat` shows rules of ours."""
    return bool(removal(standing))


def _redirects(interception: Interception) -> list[str]:
    return [
        f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {interception.outbound_port}",
        f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {interception.inbound_port}",
    ]


def _inbound(interception: Interception) -> list[str]:
    passed = sorted({TUNNEL_PORT, *interception.exclude_inbound})
    taken = interception.include_inbound
    matches = [""] if taken is None else [f" --dport {port}" for port in sorted(set(taken))]
    return [
        *(f"-A ISTIO_INBOUND -i {name} -j RETURN" for name in interception.exclude_interfaces),
        *(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in passed),
        *(f"-A ISTIO_INBOUND -p tcp{match} -j ISTIO_IN_REDIRECT" for match in matches),
    ]


def _dns(interception: Interception) -> list[str]:
    """The workload's queries by UDP, to the proxy; the proxy's own go to the resolvers."""
    servers = interception.capture_dns
    if servers == ():
        return []
    uid, gid = interception.proxy_uid, interception.proxy_gid
    taken = [""] if servers is None else [f" -d {server}" for server in _of(servers, 4)]
    return [
        f"-A {_DNS_CHAIN} -m owner --uid-owner {uid} -j RETURN",
        f"-A {_DNS_CHAIN} -m owner --gid-owner {uid if gid is None else gid} -j RETURN",
        *(
            f"-A {_DNS_CHAIN} -p udp{match} --dport 53 -j REDIRECT --to-ports {interception.dns_port}"
            for match in taken
        ),
    ]


def _outbound(interception: Interception, family: Family) -> list[str]:
    leaving = [
        *(f"-o {name}" for name in interception.exclude_interfaces),
        *(f"-p tcp --dport {port}" for port in sorted(set(interception.exclude_outbound_ports))),
        # Envoy's hand-over to the application must not come back to Envoy.
        f"-o lo -s {_INBOUND_SOURCE[family]}",
        # Its questions for names are no calls to its own workload, though they leave on lo.
        *(f"-d {network}" for network in _of(interception.resolvers, family)),
        # What is asked by TCP has an answer that the resolver began; nobody else knows how it goes on.
        *(f"-p tcp --dport 53{match}" for match in _asked(interception, family)),
    ]
    excluded = [_LOOPBACK[family], *map(str, _of(interception.exclude_outbound, family))]
    included = interception.include_outbound
    taken = [""] if included is None else [f"-d {network} " for network in _of(included, family)]
    return [
        *(f"-A ISTIO_OUTPUT {match} -j RETURN" for match in leaving),
        *_own(interception, family),
        *(f"-A ISTIO_OUTPUT -d {network} -j RETURN" for network in excluded),
        *(
            f"-A ISTIO_OUTPUT -p tcp --dport {port} -j ISTIO_REDIRECT"
            for port in sorted(set(interception.include_outbound_ports))
        ),
        *(f"-A ISTIO_OUTPUT {match}-j ISTIO_REDIRECT" for match in taken),
    ]


def _own(interception: Interception, family: Family) -> list[str]:
    """What the proxy sends, by its user and by its group."""
    uid, gid = interception.proxy_uid, interception.proxy_gid
    rules = []
    for match in (f"--uid-owner {uid}", f"--gid-owner {uid if gid is None else gid}"):
        rules += [
            # A workload that calls itself through its service: Envoy picked this very pod as the
            # endpoint, so the packet leaves on lo and has to enter as any inbound connection does.
            f"-A ISTIO_OUTPUT -o lo ! -d {_LOOPBACK[family]} -p tcp ! --dport {TUNNEL_PORT}"
            f" -m owner {match} -j ISTIO_IN_REDIRECT",
            # The application talks to itself without the mesh, and Envoy's own calls go out as they are.
            f"-A ISTIO_OUTPUT -o lo -m owner ! {match} -j RETURN",
            f"-A ISTIO_OUTPUT -m owner {match} -j RETURN",
        ]
    return rules


def _asked(interception: Interception, family: Family) -> list[str]:
    servers = interception.capture_dns
    return [""] if servers is None else [f" -d {server}" for server in _of(servers, family)]


def _of(networks: Iterable[Network], family: Family) -> list[Network]:
    return [network for network in networks if network.version == family]
