"""How Compose lays one service over another: of a later file over an earlier, and of who extends over whom.

Mappings are united, lists are joined, what is mounted at one place is there once, and anything else is the
later one's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.service import Service, listed, named

_UNITED = (
    "storage_opt",
    "healthcheck",
    "ulimits",
    "blkio_config",
    "logging",
    "deploy",
    "credential_spec",
    "annotations",
)
_JOINED = (
    "cap_add",
    "cap_drop",
    "configs",
    "device_cgroup_rules",
    "dns",
    "dns_opt",
    "dns_search",
    "env_file",
    "expose",
    "external_links",
    "group_add",
    "links",
    "ports",
    "profiles",
    "secrets",
    "security_opt",
    "tmpfs",
    "volumes_from",
)


def merged(base: Service, over: Service) -> dict[str, Value]:
    """The service `over` laid over the service `base`; the keys of the base come first."""
    found: dict[str, Value] = dict(base)
    for key, given in over.items():
        unite = _UNITE.get(key)
        found[key] = unite(base[key], given) if unite is not None and base.get(key) is not None else given
    return found


def united(base: Value, over: Value) -> Value:
    """Mappings within mappings united; lists joined; anything else is the later one's."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = {key: united(base[key], given) if key in base else given for key, given in over.items()}
        return {**base, **both}
    return over


def joined(base: Value, over: Value) -> Value:
    """Both lists, each thing once."""
    return _unique([*listed(base), *listed(over)], str)


def _unique(items: Iterable[Value], what: Callable[[Value], str]) -> list[Value]:
    """The last of those that are the same, in the order of the first."""
    return list({what(item): item for item in items}.values())


def _pairs(separator: str) -> Callable[[Value, Value], Value]:
    """For what is a mapping or a list of "KEY=VALUE"."""

    def unite(base: Value, over: Value) -> Value:
        return {**_mapping(base, separator), **_mapping(over, separator)}

    return unite


def _mapping(given: Value, separator: str) -> dict[str, Value]:
    if isinstance(given, dict):
        return given
    found: dict[str, Value] = {}
    for one in listed(given):
        key, there, content = str(one).partition(separator)
        found[key] = content if there else None
    return found


def _mounts(base: Value, over: Value) -> Value:
    """Volumes and devices: one at each place of the container."""
    return _unique([*listed(base), *listed(over)], _target)


def _target(mount: Value) -> str:
    if isinstance(mount, Mapping):
        return str(mount.get("target"))
    parts = str(mount).split(":")
    return (
        parts[1]
        if len(parts) > 1 and parts[1].startswith("/")
        else parts[0]
        if len(parts) == 1
        else str(mount)
    )


def _networks(base: Value, over: Value) -> Value:
    found = named(base)
    for network, given in named(over).items():
        before = found.get(network)
        if isinstance(before, dict) and isinstance(given, dict):
            both = {**before, **given}
            if before.get("aliases") and given.get("aliases"):
                both["aliases"] = joined(before["aliases"], given["aliases"])
            found[network] = both
        elif given is not None or network not in found:
            found[network] = given
    return found


def _waits(base: Value, over: Value) -> Value:
    if isinstance(base, list) and isinstance(over, list):
        return joined(base, over)
    started: dict[str, Value] = {"condition": "service_started"}
    both = {**named(base), **named(over)}
    return {name: started if detail is None else detail for name, detail in both.items()}


def _build(base: Value, over: Value) -> Value:
    first, second = _built(base), _built(over)
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    found = {**first, **second}
    for key in ("args", "labels"):
        if first.get(key) is not None and second.get(key) is not None:
            found[key] = _pairs("=")(first[key], second[key])
    return found


def _built(given: Value) -> Value:
    return {"context": given} if isinstance(given, str) else given


_UNITE: Mapping[str, Callable[[Value, Value], Value]] = {
    **dict.fromkeys(_UNITED, united),
    **dict.fromkeys(_JOINED, joined),
    "build": _build,
    "depends_on": _waits,
    "devices": _mounts,
    "environment": _pairs("="),
    "extra_hosts": _pairs(":"),
    "labels": _pairs("="),
    "networks": _networks,
    "sysctls": _pairs("="),
    "volumes": _mounts,
}
