"""Checks of ProxyConfigs: several for the same proxies, of which the oldest counts."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.model.keys import Key
from controlplane.model.kinds import proxy_configs
from controlplane.model.kinds.proxy_config import ProxyConfig
from controlplane.model.problem import Problem


@query
def proxy_config_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one ProxyConfig."""
    found: ProxyConfig | None = q.get(proxy_configs, key)
    if found is None:
        return ()
    return tuple(as_problem("ProxyConfig", key, finding) for finding in _rivals(q, key, found))


def _rivals(q: Q, key: Key, found: ProxyConfig) -> Iterator[Finding]:
    """The others that say the same of whom they are for."""
    same = q.index(proxy_configs, "scope", (key.namespace, found.selector))
    ages = sorted((q.get(proxy_configs, one).meta.created, one) for one in same)
    first = ages[0][1]
    whom = "the proxies of this selector" if found.selector else f"namespace {key.namespace}"
    for _, one in ages[1:]:
        if key == one:
            why = f"has no effect: ProxyConfig {first.namespace}/{first.name} is older, and for {whom}, too"
            yield Finding("spec.selector" if found.selector else "spec", why, "keep one of them")
        elif key == first:
            why = f"counts in place of ProxyConfig {one.namespace}/{one.name}, which is younger, for {whom}"
            yield Finding("spec.selector" if found.selector else "spec", why, "keep one of them")
