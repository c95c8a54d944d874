"""What an HTTP rule of a VirtualService does to headers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.model.describe import printable, shorten
from controlplane.model.keys import Labels
from controlplane.model.kinds.http_match import is_header_name
from controlplane.model.reader import Reader
from controlplane.model.substitution import substitution_fault

AUTHORITY = (":authority", "host")
# As in Istio: a tab may stand in a header's value, what else is below a space may not.
_LONGEST_VALUE = 16384
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class HeaderOperations:
    """Headers to overwrite, to append and to remove."""

    set: Labels = ()
    add: Labels = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headers:
    """Header operations on the request and on the response."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


def read_headers(r: Reader) -> Headers:
    """Operations on the headers of both directions."""
    return Headers(
        request=r.message("request", _read_request_operations),
        response=r.message("response", _read_response_operations),
    )


def _read_request_operations(r: Reader) -> HeaderOperations:
    operations = _read_header_operations(r, AUTHORITY)
    both = (("set", operations.set), ("add", operations.add))
    named = [(field, header) for field, pairs in both for header, _ in pairs if is_authority(header)]
    for field, header in named[1:]:
        r.error(f"{field}[{header}]", f"is set as {named[0][1]} already", "keep one of them")
    return operations


def _read_response_operations(r: Reader) -> HeaderOperations:
    return _read_header_operations(r, ())


def check_authority(r: Reader, headers: Headers) -> None:
    """Where a rule rewrites who is asked, its headers must not; `r` stands on the headers."""
    for field, pairs in _of_request(headers):
        for header, _ in pairs:
            if is_authority(header):
                r.error(f"request.{field}[{header}]", "excludes rewrite.authority", "keep one of them")


def _of_request(headers: Headers) -> tuple[tuple[str, Labels], ...]:
    request = headers.request
    return () if request is None else (("set", request.set), ("add", request.add))


def is_authority(header: str) -> bool:
    """Whether this names the host that a request asks for."""
    return header.lower() in AUTHORITY


def _read_header_operations(r: Reader, settable: tuple[str, ...]) -> HeaderOperations:
    operations = HeaderOperations(
        set=read_header_values(r, "set", settable),
        add=read_header_values(r, "add", settable),
        remove=r.strings("remove"),
    )
    for index, header in enumerate(operations.remove):
        _check_header(r, f"remove[{index}]", header)
    return operations


def read_header_values(r: Reader, field: str, settable: tuple[str, ...] = ()) -> Labels:
    """Headers and their values with Envoy's substitutions; `settable` are those that every message has."""
    pairs = r.labels(field)
    for header, value in pairs:
        if header.lower() not in settable:
            _check_header(r, field, header)
        fault = "holds a control character" if _CONTROL.search(value) else substitution_fault(value)
        if len(value.encode()) > _LONGEST_VALUE:
            fault = f"is longer than {_LONGEST_VALUE} bytes"
        if fault:
            remedy = 'write one line of text, with %% for a percent sign, like "100%%"'
            r.error(f"{field}[{printable(header)}]", fault, remedy)
    return pairs


def _check_header(r: Reader, field: str, header: str) -> None:
    """The name of a header that may be changed: not what every message has (:path, host)."""
    if header.startswith(":") or is_authority(header):
        r.error(field, f"{shorten(header)} cannot be changed like this", "use rewrite or redirect")
    elif not is_header_name(header):
        r.error(field, f"{shorten(header)} cannot be the name of a header", "use the name of a header")
