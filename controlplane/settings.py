"""What the operator decides: read once, from flags and environment, into one frozen value.

Every setting is one row of `OPTIONS`: the flag, the environment variable that Istio has for it (flags
win, an empty variable counts as unset), the default as one would type it, and what is allowed.  The
argument parser, the reader and the table in the documentation all come from these rows.  Durations
are written as in Go ("100ms", "1m30s") and held as seconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.base import parse
from controlplane.base.errors import SettingsError
from controlplane.base.parse import Address


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `mini-istiod discovery`; durations in seconds, sizes in bytes.

    `config_dir` exists.  `push_throttle` is resolved: never 0.  `max_requests_per_second` 0 means
    without limit, `max_connection_age` 0 without end.
    """

    config_dir: Path
    mesh_config: Path | None
    grpc_addr: tuple[Address, ...]
    secure_grpc_addr: tuple[Address, ...]
    monitoring_addr: Address
    data_dir: Path | None
    debounce_after: float
    debounce_max: float
    eds_debounce: bool
    debounce_adaptive: bool
    push_throttle: int
    max_requests_per_second: float
    ack_deadline: float
    max_connection_age: float
    max_request_bytes: int
    on_demand_virtual_hosts: bool
    drain_duration: float
    paranoid: bool
    log_level: str
    log_format: str
    insecure_allow_remote: bool
    debug_allow_remote: bool
    push_log: Path | None
    record: Path | None


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as the operator sees it.  `parse` raises `ValueError` for what is not `allowed`."""

    field: str
    parse: Callable[[str], Any]
    default: str
    allowed: str
    about: str
    variable: str = ""

    @property
    def flag(self) -> str:
        return "--" + self.field.replace("_", "-")


_DURATION = 'a duration such as "100ms" or "1m30s"'
_BOOLEAN = "true or false"
_ADDRESSES = 'HOST:PORT or unix:/PATH; several with commas or by repeating the flag; "" for none'

OPTIONS: tuple[Option, ...] = (
    Option("config_dir", parse.directory, "", "an existing directory", "watched tree of YAML files"),
    Option(
        "mesh_config", parse.optional_file, "", "an existing file", "MeshConfig; Istio's defaults without it"
    ),
    Option(
        "grpc_addr",
        parse.addresses,
        "127.0.0.1:15010",
        _ADDRESSES,
        "where proxies connect in plaintext; beyond this machine only with --insecure-allow-remote",
    ),
    Option(
        "secure_grpc_addr",
        parse.addresses,
        "",
        '"" until the certificate authority is part of this program',
        "where proxies connect with TLS",
    ),
    Option("monitoring_addr", parse.tcp_address, "127.0.0.1:15014", "HOST:PORT", "/ready, /metrics, /debug"),
    Option("data_dir", parse.optional_path, "", "a directory, made when missing", "what outlives a restart"),
    Option(
        "debounce_after",
        parse.duration,
        "100ms",
        _DURATION,
        "quiet time after a change before it is taken up",
        "PILOT_DEBOUNCE_AFTER",
    ),
    Option(
        "debounce_max",
        parse.duration,
        "10s",
        f"{_DURATION}, not below --debounce-after",
        "the longest that a change waits for quiet",
        "PILOT_DEBOUNCE_MAX",
    ),
    Option(
        "eds_debounce",
        parse.boolean,
        "true",
        _BOOLEAN,
        "whether changes of endpoints wait too",
        "PILOT_ENABLE_EDS_DEBOUNCE",
    ),
    Option(
        "debounce_adaptive",
        parse.boolean,
        "false",
        _BOOLEAN,
        "take up a lone change at once when it has been quiet",
    ),
    Option(
        "push_throttle",
        parse.count,
        "0",
        "a whole number; 0 means min(15 + 5 x CPUs, 100)",
        "proxies that are planned for and written to at once",
        "PILOT_PUSH_THROTTLE",
    ),
    Option(
        "max_requests_per_second",
        parse.rate,
        "1000",
        "a number; 0 means without limit",
        "new streams that are admitted per second; they share their configuration, so they are cheap",
        "PILOT_MAX_REQUESTS_PER_SECOND",
    ),
    Option(
        "ack_deadline",
        parse.positive_duration,
        "1s",
        f"{_DURATION}, above 0",
        "after this an unanswered response may be followed by a newer one",
    ),
    Option(
        "max_connection_age",
        parse.duration,
        "30m",
        f'{_DURATION}; "0" for no limit',
        "age, with jitter, at which a proxy is asked to connect anew",
    ),
    Option(
        "max_request_bytes",
        parse.size,
        "64MiB",
        "a whole number of bytes, KiB or MiB, from 64KiB to 1024MiB",
        "the largest request that is read: a reconnecting proxy names everything it has",
        "ISTIO_GPRC_MAXRECVMSGSIZE",  # so spelled in Istio
    ),
    Option(
        "on_demand_virtual_hosts",
        parse.boolean,
        "false",
        _BOOLEAN,
        "give incremental sidecars their outbound virtual hosts one by one, when they are first used",
    ),
    Option("drain_duration", parse.duration, "10s", _DURATION, "time for streams to end well at shutdown"),
    Option(
        "paranoid", parse.boolean, "false", _BOOLEAN, "run every query twice and compare: slow, for tests"
    ),
    Option(
        "log_level", parse.one_of(*parse.LOG_LEVELS), "info", " ".join(parse.LOG_LEVELS), "what is logged"
    ),
    Option("log_format", parse.one_of(*parse.LOG_FORMATS), "text", " ".join(parse.LOG_FORMATS), "how"),
    Option(
        "insecure_allow_remote",
        parse.boolean,
        "false",
        _BOOLEAN,
        "let plaintext gRPC listen beyond this machine: anybody there reads and claims anything",
    ),
    Option(
        "debug_allow_remote",
        parse.boolean,
        "false",
        _BOOLEAN,
        "let /debug answer other machines: it shows the whole configuration",
    ),
    Option(
        "push_log",
        parse.optional_path,
        "",
        "a file, made or emptied",
        "where every moment of every push is noted, as JSON lines: see push-trace.md",
    ),
    Option(
        "record",
        parse.optional_path,
        "",
        "a file, made or emptied; compressed when its name ends with .gz",
        "where everything that comes in is recorded, without secrets, for `mini-istiod replay`",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare all flags; their values stay text until `from_args`."""
    for option in OPTIONS:
        name = option.field.upper().rpartition("_")[2]
        about = f"{option.about} ({option.allowed}; default {option.default or 'none'}"
        about += f"; also {option.variable})" if option.variable else ")"
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if option.parse is parse.boolean else {}
        parser.add_argument(
            option.flag,
            dest=option.field,
            metavar=name,
            action="append",
            help=about.replace("%", "%%"),
            **switch,
        )


def from_args(args: argparse.Namespace, environ: Mapping[str, str], cpus: int | None = None) -> Settings:
    """The settings; `SettingsError` names the flag or variable, the value, and what is allowed.

    `cpus` is the number of CPUs this process may use; asked of the system when None.
    """
    given = {option.field: _read(option, args, environ) for option in OPTIONS}
    share = min(15 + 5 * (cpus or len(os.sched_getaffinity(0))), 100)
    given["push_throttle"] = given["push_throttle"] or share
    settings = Settings(**given)
    _check(settings)
    return settings


def _read(option: Option, args: argparse.Namespace, environ: Mapping[str, str]) -> Any:
    flags: list[str] | None = getattr(args, option.field, None)
    variable = environ.get(option.variable, "") if option.variable else ""
    if flags is not None:
        where, text = option.flag, flags[-1]
        if option.parse is parse.addresses:
            text = ",".join(flags)
    elif variable:
        where, text = option.variable, variable
    else:
        where, text = option.flag, option.default
    try:
        return option.parse(text)
    except ValueError as error:
        reason = f" ({error})" if str(error) else ""
        raise SettingsError(
            f"{where}: {text!r} cannot be used{reason}; allowed is {option.allowed}"
        ) from error


def _check(settings: Settings) -> None:
    """What only the whole can tell."""
    if settings.secure_grpc_addr:
        raise SettingsError(
            f"--secure-grpc-addr: {settings.secure_grpc_addr[0]} cannot be served: the TLS port needs the "
            'certificate authority, which is not part of this program yet; allowed is ""'
        )
    if not settings.grpc_addr:
        raise SettingsError('--grpc-addr: "" leaves proxies nowhere to connect to; give an address')
    if settings.debounce_max < settings.debounce_after:
        raise SettingsError(
            f"--debounce-max: {settings.debounce_max:g}s is too short; allowed is "
            f"--debounce-after ({settings.debounce_after:g}s) and more"
        )
    for address in settings.grpc_addr:
        if not address.is_local and not settings.insecure_allow_remote:
            raise SettingsError(
                f"--grpc-addr: {address} can be reached from other machines, in plaintext and by anybody; "
                "use a loopback address or unix:/PATH, or accept that with --insecure-allow-remote"
            )


def ignored_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Istio's tuning variables that are set and mean nothing here, sorted: worth a line in the log."""
    known = {option.variable for option in OPTIONS}
    return tuple(sorted(name for name in environ if name.startswith("PILOT_") and name not in known))


def markdown() -> str:
    """All settings as a Markdown table, for the documentation."""
    rows = ["| flag | variable | default | allowed | what it decides |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        variable = f"`{option.variable}`" if option.variable else ""
        default = f"`{option.default}`" if option.default else ""
        rows.append(f"| `{option.flag}` | {variable} | {default} | {option.allowed} | {option.about} |")
    return "\n".join(rows) + "\n"
