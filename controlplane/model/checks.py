"""What Istio's validation demands of values that occur in many kinds.

Each check notes an error at the field it is given; none of them changes a value.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import TypeVar

from controlplane.model.describe import shorten
from controlplane.model.hosts import host_fault, is_address, is_prefix
from controlplane.model.keys import Labels
from controlplane.model.reader import Reader
from controlplane.model.regex import regex_fault, rewrite_fault
from controlplane.model.substitution import substitution_fault

UNIX = "unix://"
"""What begins so is a Unix socket; an @ stands for the abstract namespace of Linux."""
T = TypeVar("T", bound=Hashable)
_LONGEST_SOCKET = 107
_LONGEST_LINE = 16384
_LONGEST_PATH = 4095
_LONGEST_FILE = 255
_LINE_BREAK = re.compile(r"[\0\r\n]")
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")
_SHORT_NAME = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
PROTOCOLS = (
    "TCP",
    "UDP",
    "HTTP",
    "HTTP2",
    "HTTPS",
    "GRPC",
    "GRPC-Web",
    "TLS",
    "Mongo",
    "Redis",
    "MySQL",
    "HTTP_PROXY",
)


def is_dns_label(text: str) -> bool:
    """Whether this can name a namespace."""
    return _DNS_LABEL.fullmatch(text) is not None


def check_host(r: Reader, name: str, host: str, *, wildcard: bool = True) -> None:
    """A DNS name; its first label may be a wildcard if `wildcard`."""
    fault = host_fault(host, wildcard=wildcard) if host else None
    if fault:
        r.error(name, f"{shorten(host)} {fault}", "write a DNS name like reviews.default.svc.cluster.local")


def check_subnets(r: Reader, name: str, subnets: Iterable[str]) -> None:
    """A list of IP addresses or CIDR prefixes."""
    for index, subnet in enumerate(subnets):
        if not is_address(subnet) and not is_prefix(subnet):
            r.error(f"{name}[{index}]", f"{shorten(subnet)} is no IP address or CIDR", 'write "10.0.0.0/8"')


def check_namespace(r: Reader, name: str, namespace: str | None) -> None:
    """The name of a namespace, or nothing."""
    if namespace is not None and not is_dns_label(namespace):
        r.error(
            name,
            f"{shorten(namespace)} cannot be the name of a namespace",
            "use lower case letters, digits and -",
        )


def check_selector(r: Reader, name: str, labels: Labels) -> None:
    """Labels to select by: valid keys and values, no wildcards."""
    for key, value in labels:
        prefix, slash, last = key.rpartition("/")
        if not _LABEL_NAME.fullmatch(last) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
            r.error(name, f"{shorten(key)} cannot be the name of a label", "write it as Kubernetes does")
        elif value and not _LABEL_NAME.fullmatch(value):
            r.error(
                f"{name}[{key}]",
                f"{shorten(value)} cannot be the value of a label",
                "labels are compared exactly",
            )


def repeated(values: Iterable[T]) -> list[tuple[int, T]]:
    """The (index, value) pairs of those values that stood earlier in the list too."""
    seen: set[T] = set()
    again = []
    for index, value in enumerate(values):
        if value in seen:
            again.append((index, value))
        seen.add(value)
    return again


def check_export_to(r: Reader, name: str, values: tuple[str, ...], *, hideable: bool = False) -> None:
    """exportTo: ".", "*", namespaces, and "~" (nobody) if `hideable`."""
    for index, value in enumerate(values):
        at = f"{name}[{index}]"
        if value not in (".", "*") and not (hideable and value == "~") and not is_dns_label(value):
            r.error(at, f"{shorten(value)} is no namespace", 'use ".", "*" or the name of a namespace')
    own = r.report.namespace
    for index, value in repeated(own if value == "." else value for value in values):
        r.error(f"{name}[{index}]", f"{shorten(value)} is given twice", "remove one")
    if "*" in values and len(values) > 1:
        r.error(name, 'holds "*" and more', 'let "*" stand alone: it means all namespaces')
    if "~" in values and len(values) > 1:
        r.error(name, 'holds "~" and more', 'let "~" stand alone: it hides the object from all')


def check_gateways(r: Reader, gateways: tuple[str, ...]) -> None:
    """References to gateways: "mesh", a name, or namespace/name."""
    for index, gateway in enumerate(gateways):
        namespace, slash, name = gateway.rpartition("/")
        whole = slash and not (is_dns_label(name) and (namespace == "." or is_dns_label(namespace)))
        if host_fault(name, wildcard=False) or whole:
            r.error(f"gateways[{index}]", f"{shorten(gateway)} names no gateway", "write namespace/name")


def check_regex(r: Reader, name: str, pattern: str) -> None:
    """A regular expression in RE2's syntax."""
    fault = regex_fault(pattern)
    if fault:
        r.error(name, f"{shorten(pattern)} is not a regular expression: {fault}", "write it in RE2's syntax")


def check_rewrite(r: Reader, name: str, pattern: str, rewrite: str) -> None:
    """What stands in the place of what an expression finds: one line, without groups that there are not."""
    check_lines(r, **{name: rewrite})
    fault = rewrite_fault(pattern, rewrite)
    if fault:
        remedy = r"refer to groups of the expression, the first is \1, and write \\ for a backslash"
        r.warn(name, f"{fault}: nothing is rewritten", remedy)


def check_short_name(r: Reader, name: str, text: str, what: str) -> None:
    """The name of a port or of a subset (`what`): letters, digits and hyphens, or nothing."""
    if text and not _SHORT_NAME.fullmatch(text):
        r.error(
            name,
            f"{shorten(text)} cannot be the name of a {what}",
            "use up to 63 letters, digits and hyphens",
        )


def check_most(r: Reader, name: str, count: int, most: int) -> None:
    """A list that is not longer than the API allows."""
    if count > most:
        r.error(name, f"has {count} entries, at most {most} are allowed", "make several objects of it")


def check_socket(r: Reader, name: str, text: str) -> None:
    """The address of a Unix socket: a path, or a name in Linux's abstract namespace."""
    path = text.removeprefix(UNIX)
    if not path.startswith(("/", "@")) or path.endswith(("/", "@")) or "\0" in path:
        r.error(name, f"{shorten(text)} names no socket", "write unix:///path or unix://@name")
    elif len(path.encode()) > _LONGEST_SOCKET:
        r.error(
            name, f"is longer than {_LONGEST_SOCKET} bytes", "use a shorter path: no system opens this one"
        )


def check_lines(r: Reader, **texts: str | None) -> None:
    """Texts that go into one line of a message, by field: Envoy refuses a line break or a NUL in them."""
    for name, text in texts.items():
        if text is not None and _LINE_BREAK.search(text):
            r.error(name, "holds a line break or a NUL", "write one line of text")
        elif text is not None and len(text.encode()) > _LONGEST_LINE:
            r.error(name, f"is longer than {_LONGEST_LINE} bytes", "write less")


def check_log_file(r: Reader, name: str, path: str) -> None:
    """A file that a proxy can open: it refuses every listener over one that it cannot."""
    parts = path.split("/")
    if path and (parts[-1] in ("", ".", "..") or "\0" in path):
        r.error(name, f"{shorten(path)} names no file", "write a path like /dev/stdout")
    elif len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_FILE for part in parts):
        r.error(name, "is longer than a path can be", "write a path like /dev/stdout")


def check_format(r: Reader, name: str, text: str) -> None:
    """A text with Envoy's substitutions, like that of an access log."""
    fault = substitution_fault(text)
    if fault:
        r.error(name, fault, "use Envoy's substitutions, and %% for a percent sign, like 100%%")


def check_protocol(r: Reader, name: str, text: str) -> None:
    """A protocol that Istio knows, in any case; "" is to be detected."""
    if text and text.upper() not in {known.upper() for known in PROTOCOLS}:
        r.error(name, f"{shorten(text)} is not a known protocol", "use one of " + ", ".join(PROTOCOLS))


def check_weights(r: Reader, name: str, weights: list[int]) -> None:
    """Relative weights: several of them must not all be 0, and Envoy sums them in 32 bits."""
    if len(weights) > 1 and not sum(weights) and not r.report.failed:  # a wrong weight reads as 0
        r.error(name, "all weights are 0", "give at least one destination a weight")
    elif sum(weights) > 2**32 - 1:
        r.error(name, "the weights add up to more than 4294967295", "use smaller weights")
