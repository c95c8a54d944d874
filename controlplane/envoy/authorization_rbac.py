"""From trees of tests to Envoy's RBAC: permissions say what is wanted, principals who wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from controlplane.envoy import pb
from controlplane.mesh.authorization_ir import AllOf, AnyOf, Grant, Match, Not, Stage, Test

ACTIONS = {
    "AUDIT": pb.rbac.RBAC.LOG,
    "DENY": pb.rbac.RBAC.DENY,
    "ALLOW": pb.rbac.RBAC.ALLOW,
}
JWT = "envoy.filters.http.jwt_authn"
_PAYLOAD = "payload"
_SOMETHING = ".+"
_STRINGS = (("iss",), ("sub",), ("azp",))
"""Claims that are never a list (https://www.rfc-editor.org/rfc/rfc7519#section-4.1)."""
_AUTHORITY = ":authority"
_TEMPLATES = "envoy.path.match.uri_template.uri_template_matcher"


def rules(action: str, grants: Iterable[Grant]) -> Any:
    """An RBAC message: the grants by their names, which Envoy tries in the order of the names."""
    message = pb.rbac.RBAC(action=ACTIONS[action])
    for grant in grants:
        message.policies[grant.name].CopyFrom(policy(grant))
    return message


def policy(grant: Grant) -> Any:
    """A Policy: what Envoy calls one rule."""
    message = pb.rbac.Policy()
    message.permissions.extend(map(permission, grant.permissions))
    message.principals.extend(map(principal, grant.principals))
    return message


def apply(message: Any, action: str, stage: Stage) -> None:
    """Put the rules of a stage into a filter's configuration, for HTTP or for TCP."""
    if stage.enforced is not None:
        message.rules.CopyFrom(rules(action, stage.enforced))
    if stage.dry is not None:
        message.shadow_rules.CopyFrom(rules(action, stage.dry))
        message.shadow_rules_stat_prefix = dry_run_prefix(action)


def dry_run_prefix(action: str) -> str:
    """What the statistics of rules begin with that are only tried."""
    return f"istio_dry_run_{action.lower()}_"


def permission(match: Match) -> Any:
    """A Permission."""
    message = pb.rbac.Permission()
    if isinstance(match, AllOf):
        if match.of:
            message.and_rules.rules.extend(map(permission, match.of))
        else:
            message.any = True
    elif isinstance(match, AnyOf):
        message.or_rules.rules.extend(map(permission, match.of))
    elif isinstance(match, Not):
        message.not_rule.CopyFrom(permission(match.of))
    else:
        _PERMISSIONS[match.subject](message, match)
    return message


def principal(match: Match) -> Any:
    """A Principal."""
    message = pb.rbac.Principal()
    if isinstance(match, AllOf):
        if match.of:
            message.and_ids.ids.extend(map(principal, match.of))
        else:
            message.any = True
    elif isinstance(match, AnyOf):
        message.or_ids.ids.extend(map(principal, match.of))
    elif isinstance(match, Not):
        message.not_id.CopyFrom(principal(match.of))
    else:
        _PRINCIPALS[match.subject](message, match)
    return message


def text(test: Test, *, ignore_case: bool = False) -> Any:
    """A StringMatcher."""
    if test.how == "present":
        return _regex(_SOMETHING)
    if test.how == "regex":
        return _regex(test.value)
    return pb.string_matcher.StringMatcher(**{test.how: test.value}, ignore_case=ignore_case)


def _regex(pattern: str) -> Any:
    return pb.string_matcher.StringMatcher(safe_regex=pb.regex.RegexMatcher(regex=pattern))


def _header(message: Any, test: Test) -> None:
    _named(message.header, test.path[0], test, ignore_case=False)


def _host(message: Any, test: Test) -> None:
    _named(message.header, _AUTHORITY, test, ignore_case=True)


def _named(header: Any, name: str, test: Test, *, ignore_case: bool) -> None:
    header.name = name
    if test.how == "present":
        header.present_match = True
    else:
        header.string_match.CopyFrom(text(test, ignore_case=ignore_case))


def _path(message: Any, test: Test) -> None:
    if test.how == "template":
        template = pb.uri_template.UriTemplateMatchConfig(path_template=test.value)
        message.uri_template.name = _TEMPLATES
        message.uri_template.typed_config.CopyFrom(pb.pack(template))
    else:
        message.url_path.path.CopyFrom(text(test))


def _port(message: Any, test: Test) -> None:
    message.destination_port = int(test.value)


def _sni(message: Any, test: Test) -> None:
    message.requested_server_name.CopyFrom(text(test))


def _peer(message: Any, test: Test) -> None:
    message.authenticated.principal_name.CopyFrom(text(test))


def _addresses(field: str) -> Callable[[Any, Test], None]:
    def apply_block(message: Any, test: Test) -> None:
        address, slash, length = test.value.partition("/")
        block = getattr(message, field)
        block.address_prefix = address
        block.prefix_len.value = int(length) if slash else 128 if ":" in address else 32

    return apply_block


def _claim(message: Any, test: Test) -> None:
    """A string; where the token may have a list, an element of it too."""
    value = _located(message, JWT, (_PAYLOAD, *test.path))
    if test.path in _STRINGS:
        value.string_match.CopyFrom(text(test))
        return
    ways = value.or_match.value_matchers
    ways.add(string_match=text(test))
    ways.add().list_match.one_of.string_match.CopyFrom(text(test))


def _metadata(message: Any, test: Test) -> None:
    _located(message, test.path[0], test.path[1:]).string_match.CopyFrom(text(test))


def _listed(message: Any, test: Test) -> None:
    _located(message, test.path[0], test.path[1:]).list_match.one_of.string_match.CopyFrom(text(test))


def _located(message: Any, name: str, path: Iterable[str]) -> Any:
    """The matcher of a value that a filter noted about the request."""
    matcher = message.sourced_metadata.metadata_matcher
    matcher.filter = name
    for key in path:
        matcher.path.add(key=key)
    return matcher.value


_PERMISSIONS: dict[str, Callable[[Any, Test], None]] = {
    "destination.ip": _addresses("destination_ip"),
    "destination.port": _port,
    "header": _header,
    "host": _host,
    "listed": _listed,
    "metadata": _metadata,
    "path": _path,
    "sni": _sni,
}
_PRINCIPALS: dict[str, Callable[[Any, Test], None]] = {
    "claim": _claim,
    "header": _header,
    "peer": _peer,
    "remote.ip": _addresses("remote_ip"),
    "source.ip": _addresses("direct_remote_ip"),
}
