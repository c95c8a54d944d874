"""The command line of `mini-istiod iptables`: the redirection rules of the network namespace it runs in.

It runs once, in a container beside each sidecar.  Flags are those of istio-iptables.  Started again in the
same namespace it writes the same rules again, without a moment in which there are none.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controlplane.app.xtables import Tables, families, foreign_namespace, lacks_right, tables_of
from controlplane.base import parse
from controlplane.base.errors import EnvironmentUnfit
from controlplane.inject.iptables import (
    DOCKERS_DNS,
    INBOUND_PORT,
    OUTBOUND_PORT,
    OWN_PORTS,
    PROXY_UID,
    Interception,
    Network,
    are_there,
    nat_rules,
    removal,
)

RESOLV_CONF = Path("/etc/resolv.conf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `iptables`."""
    proxy = parser.add_argument_group("the proxy")
    taken, arriving = ("-p", "--envoy-port"), ("-z", "--inbound-capture-port")
    _flag(proxy, taken, parse.port, OUTBOUND_PORT, "where it takes what the workload sends")
    _flag(proxy, arriving, parse.port, INBOUND_PORT, "where it takes what comes in")
    user, group = ("-u", "--proxy-uid"), ("-g", "--proxy-gid")
    _flag(proxy, user, _number, PROXY_UID, "the user that it runs as: what that sends passes")
    _flag(proxy, group, _number, None, "the group; default: the same number")
    proxy.add_argument(
        *("-m", "--istio-inbound-interception-mode"), choices=("REDIRECT",), default="REDIRECT"
    )
    coming = parser.add_argument_group("what comes in; ports with commas, * for all")
    own = ", ".join(map(str, OWN_PORTS))
    not_ours = ("-d", "--istio-local-exclude-ports")
    _flag(coming, ("-b", "--istio-inbound-ports"), _ports_or_all, None, "redirected (default *)")
    _flag(coming, not_ours, _ports, (), f"not redirected, as {own} never are")
    leaving = parser.add_argument_group("what is sent; networks with commas, * for all")
    _flag(leaving, ("-i", "--istio-service-cidr"), _networks_or_all, None, "redirected (default *)")
    _flag(leaving, ("-x", "--istio-service-exclude-cidr"), _networks, (), "not redirected")
    _flag(leaving, ("-q", "--istio-outbound-ports"), _ports, (), "redirected beside -i")
    _flag(leaving, ("-o", "--istio-local-outbound-ports-exclude"), _ports, (), "not redirected")
    interfaces = ("-c", "--istio-exclude-interfaces")
    _flag(parser, interfaces, _interfaces, (), "interfaces whose traffic passes, with commas")
    names = parser.add_argument_group("names: with node metadata DNS_CAPTURE of the proxy")
    names.add_argument(
        "--redirect-dns",
        action="store_true",
        help=f"what the workload asks the name servers of {RESOLV_CONF} goes to the proxy",
    )
    names.add_argument(
        "--capture-all-dns", action="store_true", help="with --redirect-dns: what it asks any name server"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the rules, and change nothing")
    parser.add_argument("--cleanup-only", action="store_true", help="take the rules away")


def _flag(
    group: argparse._ActionsContainer,
    names: tuple[str, str],
    read: Callable[[str], Any],
    default: Any,
    about: str,
) -> None:
    told = f" (default {default})" if isinstance(default, int) else ""
    group.add_argument(*names, type=parse.argument(read), default=default, metavar="VALUE", help=about + told)


def run(args: argparse.Namespace) -> int:
    """Write the rules, print them, or take them away; EnvironmentUnfit says what the machine lacks."""
    interception = interception_of(args)
    if not args.dry_run and (missing := lacks_right()):
        raise EnvironmentUnfit(missing)
    for family in families():
        if args.dry_run:
            print(f"# IPv{family}, for iptables-restore --noflush\n{nat_rules(interception, family)}", end="")
            continue
        tables = tables_of(family)
        standing = tables.saved()
        if args.cleanup_only:
            tables.restore(removal(standing))
        else:
            _write(tables, interception, standing)
    return 0


def _write(tables: Tables, interception: Interception, standing: str) -> None:
    foreign = foreign_namespace()
    if foreign and not are_there(standing):
        raise EnvironmentUnfit(
            f"this is no container's network namespace: it has the interface {foreign}, and all that this "
            'machine sends would be redirected; give this container network_mode: "service:…", the sidecar\'s'
        )
    tables.restore(nat_rules(interception, tables.family, standing))
    if not are_there(tables.saved()):
        raise EnvironmentUnfit(
            f"{tables.name} took the rules and does not have them: look at it with --dry-run"
        )
    print(f"IPv{tables.family}: redirected to {interception.outbound_port} and {interception.inbound_port}")


def interception_of(args: argparse.Namespace) -> Interception:
    """What the flags ask for."""
    return Interception(
        proxy_uid=args.proxy_uid,
        proxy_gid=args.proxy_gid,
        outbound_port=args.envoy_port,
        inbound_port=args.inbound_capture_port,
        include_inbound=args.istio_inbound_ports,
        exclude_inbound=(*OWN_PORTS, *args.istio_local_exclude_ports),
        include_outbound=args.istio_service_cidr,
        exclude_outbound=args.istio_service_exclude_cidr,
        include_outbound_ports=args.istio_outbound_ports,
        exclude_outbound_ports=args.istio_local_outbound_ports_exclude,
        exclude_interfaces=args.istio_exclude_interfaces,
        resolvers=(DOCKERS_DNS,),
        capture_dns=_captured(args) if args.redirect_dns else (),
    )


def _captured(args: argparse.Namespace) -> tuple[Network, ...] | None:
    """The name servers that queries are taken from; None for any.  EnvironmentUnfit where there is none."""
    if args.capture_all_dns:
        return None
    try:
        found = name_servers(RESOLV_CONF.read_text(errors="replace"))
    except OSError as error:
        raise EnvironmentUnfit(f"--redirect-dns: {RESOLV_CONF} cannot be read: {error.strerror}") from error
    if not found:
        raise EnvironmentUnfit(
            f"--redirect-dns: {RESOLV_CONF} names no IPv4 name server; "
            "add --capture-all-dns to take queries to any"
        )
    return found


def name_servers(text: str) -> tuple[Network, ...]:
    """The IPv4 name servers of a resolv.conf, as networks of one address each."""
    found: list[Network] = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        try:
            address = ipaddress.IPv4Network(rest.strip())
        except ValueError:
            continue
        if word == "nameserver" and address not in found:
            found.append(address)
    return tuple(found)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ValueError("a number is wanted, such as 1337")
    return int(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ports(text: str) -> tuple[int, ...]:
    return tuple(map(parse.port, _parts(text)))


def _ports_or_all(text: str) -> tuple[int, ...] | None:
    return None if text.strip() == "*" else _ports(text)


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part, strict=False) for part in _parts(text))


def _networks_or_all(text: str) -> tuple[Network, ...] | None:
    return None if text.strip() == "*" else _networks(text)


def _interfaces(text: str) -> tuple[str, ...]:
    names = _parts(text)
    for name in names:
        # It becomes a word of a rule.
        if len(name) > 15 or not name.isprintable() or set(name) & set(" /\"'\\!"):
            raise ValueError(f"{name!r} is no interface")
    return tuple(names)
