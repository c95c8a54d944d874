"""AuthorizationPolicies for property tests: valid ones, with every field and the strangest values."""

from __future__ import annotations

from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.authorization_policy import AuthorizationPolicy

ODD = (
    "a",
    "*",
    "a*",
    "*a",
    "*a*",
    "**",
    "a*b",
    ".+",
    "(",
    "[x]",
    "\\",
    "a b",
    "ü",
    "x" * 300,
    "^$|?{}",
    "\x7f",
    '"',
)
_text = st.sampled_from(ODD) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
_identity = st.sampled_from(
    ("cluster.local/ns/foo/sa/a", "*", "*/sa/a", "corp*", "old.example/ns/*", "a.b+(c)/ns/x/sa/y", "p" * 320)
) | st.text("abc./-*_+()[]{}^$\\|?", min_size=1, max_size=20)
_account = st.sampled_from(("a", "foo/a", "foo/a.b-c"))
_block = st.sampled_from(("10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8", "0.0.0.0/0", "10.1.2.3/8"))
_port = st.integers(1, 65535).map(str)
_path = (
    st.sampled_from(
        (
            "/",
            "/a*",
            "*a",
            "*",
            "/{*}",
            "/a/{*}/{**}",
            "/{**}/b",
            "//",
            "/a//{*}",
            "/{*}/",
            "/{**}/{*}",
            "/é/{*}",
            "/{*}" * 100,
        )
    )
    | _text
)
_claim = st.sampled_from(("https://a.example/alice", "*", "a/*", "*/b", "*/", "/", "a/b/c*", "nobody"))
_KEYS = {
    "source.ip": _block,
    "remote.ip": _block,
    "destination.ip": _block,
    "destination.port": _port,
    "connection.sni": _text,
    "source.namespace": _identity,
    "source.principal": _identity,
    "source.serviceAccount": _account,
    "source.trustDomain": _identity,
    "request.auth.principal": _claim,
    "request.auth.audiences": _text,
    "request.auth.presenter": _text,
    "request.auth.claims[a b][c]": _text,
    "request.headers[x-Team]": _text,
    "request.headers[:method]": _text,
    "experimental.envoy.filters.network.mysql_proxy[db.table]": _text,
}


def _lists(**fields: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these fields and of their negations, at least one."""
    names = {
        one: values for name, values in fields.items() for one in (name, f"not{name[0].upper()}{name[1:]}")
    }
    return st.fixed_dictionaries(
        {}, optional={name: st.lists(values, min_size=1, max_size=3) for name, values in names.items()}
    ).filter(bool)


_common = {
    "trustDomains": _identity,
    "requestPrincipals": _claim,
    "ipBlocks": _block,
    "remoteIpBlocks": _block,
}
_source = _lists(**_common, principals=_identity, namespaces=_identity) | _lists(
    **_common, serviceAccounts=_account
)
_operation = _lists(hosts=_text, ports=_port, methods=_text, paths=_path)


def _condition(key: str) -> st.SearchStrategy[dict[str, Any]]:
    return _lists(values=_KEYS[key]).map(lambda said: {"key": key, **said})


_rule = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(_source.map(lambda one: {"source": one}), min_size=1, max_size=2),
        "to": st.lists(_operation.map(lambda one: {"operation": one}), min_size=1, max_size=2),
        "when": st.lists(st.sampled_from(sorted(_KEYS)).flatmap(_condition), min_size=1, max_size=3),
    },
)


@st.composite
def policies(draw: st.DrawFn) -> AuthorizationPolicy:
    """A policy that is accepted; values that are refused are none of this."""
    action = draw(st.sampled_from(("ALLOW", "DENY", "AUDIT", "CUSTOM")))
    spec: dict[str, Any] = {"action": action, "rules": draw(st.lists(_rule, max_size=3))}
    if action == "CUSTOM":
        spec["provider"] = {"name": draw(st.sampled_from(("known", "unknown")))}
    dry = draw(st.sampled_from(("true", "false")))
    metadata = {"name": "drawn", "namespace": "foo", "annotations": {"istio.io/dry-run": dry}}
    raw = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": metadata,
        "spec": spec,
    }
    parsed = BY_NAME["AuthorizationPolicy"].parse(raw)
    if parsed.value is None:
        # Half a surrogate, an unprintable identity, a brace that opens nothing: their author is told.
        assert parsed.problems
        reject()
    found: AuthorizationPolicy = parsed.value
    return found
