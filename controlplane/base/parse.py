"""From text to values, as flags, variables and annotations write them.

Each function takes the text and returns the value, or raises `ValueError` with what is wrong with it.
"""

from __future__ import annotations

import argparse
import ipaddress
import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_UNITS["h"] = 3600 * 10**9
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SIZE = re.compile(r"(\d+)(KiB|MiB)?", re.ASCII)
# sockaddr_un holds 108 bytes, the last of them zero.
_UNIX_LIMIT = 107


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or the path of a Unix socket.

    Host "" is every interface; port 0 is any free one; with a path, the host is "" and the port 0.
    """

    host: str
    port: int
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """As gRPC takes it: "unix:/path", "127.0.0.1:15010", "[::]:15010" for every interface."""
        if self.path:
            return f"unix:{self.path}"
        host = self.host or "::"
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def address(text: str) -> Address:
    """HOST:PORT, [IPV6]:PORT, :PORT, unix:/PATH or unix:///PATH."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("the port is missing")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{port!r} is not a port")
    if host.startswith("[") and host.endswith("]"):
        return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets: [::1]:15010")
    if host and not re.fullmatch(r"[A-Za-z0-9.-]+", host):
        raise ValueError(f"{host!r} is not a host")
    return Address(host, int(port))


def _unix(path: str) -> Address:
    path = "/" + path.lstrip("/") if path.startswith("//") else path
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError("a Unix socket needs an absolute path: unix:/PATH")
    if len(path.encode()) > _UNIX_LIMIT:
        raise ValueError(f"the path of a Unix socket has at most {_UNIX_LIMIT} bytes")
    return Address("", 0, path)


def addresses(text: str) -> tuple[Address, ...]:
    """Addresses between commas, none of them twice; "" is none."""
    found = [address(part.strip()) for part in text.split(",") if part.strip()]
    twice = [one for one in found if found.count(one) > 1 and (one.port or one.path)]
    if twice:
        raise ValueError(f"{twice[0]} is there twice")
    return tuple(found)


def dialled_address(text: str) -> Address:
    """An address to connect to."""
    found = address(text)
    if not found.path and not (found.host and found.port):
        raise ValueError("a host and a port are wanted")
    return found


def port(text: str) -> int:
    """A port to connect to or to listen on, not 0."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError("a port is wanted, from 1 to 65535")
    return int(text)


def tcp_address(text: str) -> Address:
    """An address that is no Unix socket."""
    found = address(text)
    if found.path:
        raise ValueError("a Unix socket does not do here")
    return found


_LONGEST = 876_000 * 3600


def duration(text: str) -> float:
    """A duration in Go's notation, not negative, in seconds; "0" needs no unit."""
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError("a number with a unit (ns us ms s m h) is wanted")
    seconds = math.fsum(float(part[1]) * _UNITS[part[2]] for part in parts) / 10**9
    if not math.isfinite(seconds):
        raise ValueError("too long")
    return seconds


def positive_duration(text: str) -> float:
    seconds = duration(text)
    if seconds == 0:
        raise ValueError("it must be above 0")
    if seconds > _LONGEST:
        # Now and this much has to be a moment that a calendar has.
        raise ValueError("876000h, a hundred years, is the longest")
    return seconds


def boolean(text: str) -> bool:
    """What Go's strconv.ParseBool takes."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError


def count(text: str) -> int:
    """A whole number, not negative."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ValueError
    return int(text)


def rate(text: str) -> float:
    """A number, not negative."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def size(text: str) -> int:
    """Bytes, from 64 KiB to 1024 MiB."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError
    number = int(match[1]) * {None: 1, "KiB": 2**10, "MiB": 2**20}[match[2]]
    if not 2**16 <= number <= 2**30:
        raise ValueError(f"{number} bytes")
    return number


def whole(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not int(text):
        raise ValueError("a whole number above 0 is wanted")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise ValueError("a number above 0 is wanted")
    return number


def seconds(text: str) -> float:
    """A finite number of seconds, not negative."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise ValueError("a number of seconds, not negative, is wanted")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def directory(text: str) -> Path:
    """A directory that exists."""
    if not text:
        raise ValueError("it is required")
    path = Path(text)
    if not path.is_dir():
        raise ValueError("it is not a directory" if path.exists() else "it is not there")
    return path


def host_names(text: str) -> tuple[str, ...]:
    """DNS names or IP addresses between commas; "" is none."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in found:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", name):
            raise ValueError(f"{name!r} is neither a DNS name nor an address")
    return found


def optional_file(text: str) -> Path | None:
    """A file that exists, or "" for none."""
    path = optional_path(text)
    if path is not None and not path.is_file():
        raise ValueError("it is not a file" if path.exists() else "it is not there")
    return path


def token_review(text: str) -> str:
    """The path of a kubeconfig that is there, "in-cluster", or "" for none."""
    if text and text != "in-cluster" and not Path(text).is_file():
        raise ValueError("there is no such file")
    return text


def word(text: str) -> str:
    """Something without blanks."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError
    return text


def files(text: str) -> tuple[Path, ...]:
    """Files that exist, between commas; "" is none."""
    return tuple(path for part in text.split(",") if (path := optional_file(part.strip())))


def optional_path(text: str) -> Path | None:
    """A path, there or not, or "" for none."""
    return Path(text) if text else None


def made_directory(path: Path) -> Path:
    """The directory, made if it was not there, with its parents; files can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell it all: only a file does.
        with tempfile.TemporaryFile(dir=path):
            return path
    except FileExistsError:
        raise ValueError("it is not a directory") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """The same parser for argparse, which drops the reason of a `ValueError`."""

    def parsed(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {error}") from error

    return parsed


def optional(read: Callable[[str], T]) -> Callable[[str], T | None]:
    """The same parser, with "" for none."""
    return lambda text: read(text) if text else None


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes exactly these words."""

    def choose(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return choose
