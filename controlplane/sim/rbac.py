"""Envoy's role-based access control: which policy names a request or a connection, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.sim.chains import Connection
from controlplane.sim.matchers import header_matches, metadata_matches, text_matches, within
from controlplane.sim.paths import without_query
from controlplane.sim.routes import template_matches
from controlplane.sim.walk import CannotTell, kind_of, unpacked

_ALLOW, _LOG = 0, 2


@dataclass(frozen=True, slots=True)
class Subject:
    """What rules look at: a connection, and a request on it where there is one."""

    connection: Connection
    identity: str = ""
    encrypted: bool = False
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    remote: str = ""
    """The client's address where a proxy in front is believed; "" is that of the connection."""


def judged(rules: Any, subject: Subject) -> tuple[bool, str]:
    """Whether config.rbac.v3.RBAC lets it pass, and the name of the policy that says so ("none")."""
    named = next((name for name in sorted(rules.policies) if named_by(rules.policies[name], subject)), "")
    if rules.action == _LOG:
        return True, named or "none"
    return bool(named) == (rules.action == _ALLOW), named or "none"


def named_by(policy: Any, subject: Subject) -> bool:
    """Whether a Policy names it: one of its permissions and one of its principals do."""
    if policy.HasField("condition") or policy.HasField("checked_condition"):
        raise CannotTell("a condition in CEL")
    return any(permits(one, subject) for one in policy.permissions) and any(
        is_principal(one, subject) for one in policy.principals
    )


def permits(rule: Any, subject: Subject) -> bool:
    """config.rbac.v3.Permission."""
    how = rule.WhichOneof("rule")
    if how == "and_rules":
        return all(permits(one, subject) for one in rule.and_rules.rules)
    if how == "or_rules":
        return any(permits(one, subject) for one in rule.or_rules.rules)
    if how == "not_rule":
        return not permits(rule.not_rule, subject)
    return _leaf(rule, how, subject)


def is_principal(rule: Any, subject: Subject) -> bool:
    """config.rbac.v3.Principal."""
    how = rule.WhichOneof("identifier")
    if how == "and_ids":
        return all(is_principal(one, subject) for one in rule.and_ids.ids)
    if how == "or_ids":
        return any(is_principal(one, subject) for one in rule.or_ids.ids)
    if how == "not_id":
        return not is_principal(rule.not_id, subject)
    return _leaf(rule, how, subject)


def _leaf(rule: Any, how: str | None, subject: Subject) -> bool:
    if how not in _LEAVES:
        raise CannotTell(f"a rule about {how}")
    return _LEAVES[how](getattr(rule, how), subject)


def _any(value: bool, _subject: Subject) -> bool:
    return value


def _header(matcher: Any, subject: Subject) -> bool:
    return header_matches(matcher, subject.headers)


def _path(matcher: Any, subject: Subject) -> bool:
    paths = subject.headers.get(":path")
    return paths is not None and text_matches(matcher.path, without_query(paths[0]))


def _template(config: Any, subject: Subject) -> bool:
    template = unpacked(config.typed_config)
    if template is None:
        raise CannotTell(f"a path matcher: {kind_of(config.typed_config)}")
    paths = subject.headers.get(":path")
    return paths is not None and template_matches(template.path_template, without_query(paths[0]))


def _destination(block: Any, subject: Subject) -> bool:
    return within(block, subject.connection.address)


def _port(port: int, subject: Subject) -> bool:
    return subject.connection.port == port


def _ports(range: Any, subject: Subject) -> bool:
    return bool(range.start <= subject.connection.port < range.end)


def _sni(matcher: Any, subject: Subject) -> bool:
    return text_matches(matcher, subject.connection.sni)


def _metadata(matcher: Any, subject: Subject) -> bool:
    return metadata_matches(matcher, subject.metadata)


def _sourced(matcher: Any, subject: Subject) -> bool:
    if matcher.metadata_source != 0:
        raise CannotTell("metadata of routes")
    return metadata_matches(matcher.metadata_matcher, subject.metadata)


def _peer(said: Any, subject: Subject) -> bool:
    if not said.HasField("principal_name"):
        return subject.encrypted
    # Without a certificate there is no name, and so none that matches.
    return bool(subject.identity) and text_matches(said.principal_name, subject.identity)


def _direct(block: Any, subject: Subject) -> bool:
    return within(block, subject.connection.direct or subject.connection.source)


def _remote(block: Any, subject: Subject) -> bool:
    return within(block, subject.remote or subject.connection.source)


_LEAVES: dict[str, Callable[[Any, Subject], bool]] = {
    "any": _any,
    "authenticated": _peer,
    "destination_ip": _destination,
    "destination_port": _port,
    "destination_port_range": _ports,
    "direct_remote_ip": _direct,
    "header": _header,
    "metadata": _metadata,
    "remote_ip": _remote,
    "requested_server_name": _sni,
    "source_ip": _direct,
    "sourced_metadata": _sourced,
    "uri_template": _template,
    "url_path": _path,
}
