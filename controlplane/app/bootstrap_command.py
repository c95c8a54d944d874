"""The command line of `mini-istiod bootstrap`: what a proxy starts with, printed or as files.

Everything is told by flags, because the proxy and its files may be elsewhere: a one-shot job of Compose
writes into a volume that the sidecar mounts later, a Kubernetes manifest hands addresses over as
`$(POD_IP)`.  Nothing that is secret is read or written here; the files hold paths.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path

from controlplane.app import proxy_files, started
from controlplane.app.proxy_files import BOOTSTRAP_FILE
from controlplane.base import parse
from controlplane.base.errors import MiniIstiodError
from controlplane.envoy import bootstrap_start
from controlplane.envoy.bootstrap import ControlPlane, Node, bootstrap
from controlplane.envoy.bootstrap_trust import CONTROL_PLANE, Trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `bootstrap`."""
    _about_the_proxy(parser.add_argument_group("the proxy"))
    started.add_argument(parser)
    plane = parser.add_argument_group("the control plane, and how the two know each other")
    plane.add_argument(
        *("--xds-address", "--control-plane"),
        required=True,
        type=parse.argument(parse.dialled_address),
        metavar="ADDRESS",
        help="unix:/PATH or HOST:PORT",
    )
    plane.add_argument(
        "--root-file", default="", metavar="PATH", help="speak TLS; PEM with the roots, as the proxy sees it"
    )
    plane.add_argument(
        "--token-file", default="", metavar="PATH", help="send the token in this file, as the proxy sees it"
    )
    plane.add_argument(
        "--cert-file",
        default="",
        metavar="PATH",
        help="show this certificate to a port that wants one",
    )
    plane.add_argument("--key-file", default="", metavar="PATH", help="its key, in the same folder")
    plane.add_argument(
        "--tls-name",
        default=CONTROL_PLANE,
        metavar="NAME",
        help="what the control plane's certificate is for",
    )
    plane.add_argument("--plaintext", action="store_true", help="no TLS, though the address is not local")
    plane.add_argument("--protocol", choices=("GRPC", "DELTA_GRPC"), default="DELTA_GRPC")
    files = parser.add_argument_group("what is written")
    files.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"write {BOOTSTRAP_FILE}, and what TLS and a token need beside it; default: print it",
    )
    files.add_argument(
        "--seen-at", default="", metavar="DIR", help="where the proxy sees what --out names; default: there"
    )


def _about_the_proxy(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--ip", required=True, help="the workload's address")
    parser.add_argument("--name", required=True, help="the workload's (pod's) name")
    parser.add_argument("--namespace", default="", help="default: that of --service-account, or default")
    parser.add_argument(
        *("--service-account", "--sa"),
        default="default",
        metavar="[NAMESPACE/]NAME",
        help="as the token has it",
    )
    parser.add_argument("--kind", choices=("sidecar", "router"), default="sidecar", help="router: a gateway")
    parser.add_argument("--workload", default="", help="what the pod is a replica of; default: its name")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="repeatable")
    parser.add_argument("--labels", default="", metavar="KEY=VALUE,…", help="several at once")
    parser.add_argument("--locality", default="", metavar="REGION/ZONE/SUBZONE")
    port = parse.argument(parse.port)
    parser.add_argument("--admin-port", type=port, metavar="PORT", help="default: 15000")


def run(args: argparse.Namespace) -> int:
    """Print the bootstrap, or write it; MiniIstiodError names the flag that is wrong."""
    node, found = started.start(_node(args), started.read_objects(args.objects))
    if started.flags(found):
        # Printed beside the bootstrap, which cannot say it.
        print(f"start Envoy with {started.flags(found)}", file=sys.stderr)
    trust = _trust(args)
    plane = ControlPlane(str(args.xds_address), args.protocol, trust)
    ports = started.ports(found, args.admin_port)
    if args.out is None:
        content = bootstrap_start.started(bootstrap(node, plane, ports=ports), found.start)
        print(proxy_files.text(content), end="")
        return 0
    try:
        folder = parse.made_directory(args.out)
    except ValueError as error:
        raise MiniIstiodError(f"--out: '{args.out}' cannot be used: {error}") from error
    proxy_files.write(folder, node, plane, ports, found.start)
    return 0


def _node(args: argparse.Namespace) -> Node:
    try:
        ipaddress.ip_address(args.ip)
    except ValueError as error:
        raise MiniIstiodError(f"--ip: {args.ip!r} cannot be used; allowed is an IP address") from error
    within, _, account = args.service_account.rpartition("/")
    if within and args.namespace and within != args.namespace:
        raise MiniIstiodError(f"--service-account: {args.service_account!r} is not in {args.namespace!r}")
    node = Node(
        ip=args.ip,
        name=args.name,
        namespace=args.namespace or within or "default",
        kind=args.kind,
        labels=_labels(args),
        service_account=account,
        workload=args.workload,
        locality=args.locality,
    )
    return proxy_files.checked(node, "--ip, --name, --namespace")


def _labels(args: argparse.Namespace) -> dict[str, str]:
    given = [("--label", text) for text in args.label]
    given += [("--labels", text.strip()) for text in args.labels.split(",") if text.strip()]
    return proxy_files.labels(given)


def _trust(args: argparse.Namespace) -> Trust:
    address: parse.Address = args.xds_address
    if args.root_file and args.plaintext:
        raise MiniIstiodError("--plaintext: cannot be used with --root-file, which asks for TLS")
    if not address.is_local and not args.root_file:
        if args.token_file:
            raise MiniIstiodError(f"--token-file: {address} would get it in plaintext; give --root-file")
        if not args.plaintext:
            raise MiniIstiodError(
                f"--xds-address, --control-plane: {address} is not on this machine: "
                "give --root-file for TLS, or --plaintext"
            )
    if (args.root_file or args.token_file) and args.out is None:
        raise MiniIstiodError("--out: is needed with --root-file and --token-file, which take more files")
    _check_files(args)
    return Trust(
        args.seen_at or ("" if args.out is None else str(args.out.absolute())),
        root=args.root_file,
        token=args.token_file,
        name=args.tls_name,
        certificate=args.cert_file,
        key=args.key_file,
    )


def _check_files(args: argparse.Namespace) -> None:
    for name in ("root_file", "token_file", "cert_file", "key_file", "seen_at"):
        path = getattr(args, name)
        if path:
            proxy_files.absolute("--" + name.replace("_", "-"), path)
    if bool(args.cert_file) != bool(args.key_file):
        raise MiniIstiodError("--cert-file, --key-file: one is of no use without the other")
    if not args.cert_file:
        return
    if not args.root_file:
        raise MiniIstiodError("--cert-file: a certificate is shown over TLS; give --root-file")
    if Path(args.cert_file).parent != Path(args.key_file).parent:
        raise MiniIstiodError("--key-file: must be beside --cert-file, so that both are replaced at once")
