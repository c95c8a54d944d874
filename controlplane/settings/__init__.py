"""What the operator decides: read once, from flags and environment, into one frozen value.

Every setting is one row of `OPTIONS`, which are in `rows` and in others beside it: the flag, the environment
variable that Istio has for it (flags win, an empty variable counts as unset), the default as one would
type it, and what is allowed.  The argument parser, the reader and the table in the documentation all
come from these rows.  Durations are written as in Go ("100ms", "1m30s") and held as seconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from controlplane.base import parse
from controlplane.base.errors import SettingsError
from controlplane.base.networks import Network
from controlplane.base.parse import Address
from controlplane.settings.docker_rows import DOCKER
from controlplane.settings.feature_rows import FEATURES
from controlplane.settings.option import Option
from controlplane.settings.request_rows import REQUESTS
from controlplane.settings.rows import PLACES, PUSHES, RUNNING
from controlplane.settings.trust_rows import TRUST

__all__ = ["OPTIONS", "Option", "Settings", "add_arguments", "from_args", "ignored_variables", "markdown"]

OPTIONS: tuple[Option, ...] = (*PLACES, *DOCKER, *PUSHES, *TRUST, *REQUESTS, *FEATURES, *RUNNING)


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
    mtls_grpc_addr: tuple[Address, ...]
    monitoring_addr: Address
    data_dir: Path | None
    publish_root_cert: Path | None
    docker: Address | None
    docker_project: str | None
    docker_namespace: str
    compose_files: tuple[Path, ...]
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
    root_ca_dir: Path | None
    self_signed_ca_cert_ttl: float
    default_workload_cert_ttl: float
    max_workload_cert_ttl: float
    workload_key_type: Literal["ec", "rsa"]
    root_rotation_pause: float
    tls_name: tuple[str, ...]
    token_review: str
    token_audience: str
    trust_loopback_identities: bool
    max_streams_per_identity: int
    jwt_pub_key_refresh_interval: float
    jwt_enable_remote_jwks: str
    blocked_cidrs_in_jwks_uris: tuple[Network, ...]
    jwks_root_file: Path | None
    tls_on_sidecar_ingress: bool
    ip_autoallocate: bool
    scope_gateway_to_namespace: bool
    filter_gateway_cluster_config: bool
    http10: bool
    dual_stack: bool
    mongo_filter: bool
    redis_filter: bool
    absolute_names: bool
    inbound_retries: bool
    drain_duration: float
    paranoid: bool
    log_level: str
    log_format: str
    insecure_allow_remote: bool
    debug_allow_remote: bool
    push_log: Path | None
    record: Path | None


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
    _check_doors(settings)
    if settings.debounce_max < settings.debounce_after:
        raise SettingsError(
            f"--debounce-max: {settings.debounce_max:g}s is too short; allowed is "
            f"--debounce-after ({settings.debounce_after:g}s) and more"
        )
    if settings.default_workload_cert_ttl > settings.max_workload_cert_ttl:
        raise SettingsError(
            f"--default-workload-cert-ttl: {settings.default_workload_cert_ttl:g}s is too long; allowed is "
            f"up to --max-workload-cert-ttl ({settings.max_workload_cert_ttl:g}s)"
        )


def _check_doors(settings: Settings) -> None:
    if not (settings.grpc_addr or settings.secure_grpc_addr or settings.mtls_grpc_addr):
        raise SettingsError('--grpc-addr: "" leaves proxies nowhere to connect to; give an address')
    if settings.secure_grpc_addr and settings.data_dir is None and not settings.token_review:
        raise SettingsError(
            f"--secure-grpc-addr: {settings.secure_grpc_addr[0]} would be open to nobody: tokens are judged "
            "with a key in --data-dir, or by the API server of --token-review"
        )
    remote = [address for address in settings.grpc_addr if not address.is_local]
    if remote and settings.trust_loopback_identities:
        raise SettingsError(
            f"--trust-loopback-identities: not together with --grpc-addr {remote[0]}, which can be reached "
            "from other machines; use a loopback address or unix:/PATH"
        )
    if remote and not settings.insecure_allow_remote:
        raise SettingsError(
            f"--grpc-addr: {remote[0]} can be reached from other machines, in plaintext and by anybody; "
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
