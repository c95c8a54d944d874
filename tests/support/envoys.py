"""Real Envoys in a test: whether there can be any, where they live, and how their state is compared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import netns, site, tools
from controlplane.lab.fetch import Admin
from controlplane.lab.pods import Lab
from controlplane.lab.site import Place


def unfit() -> str:
    """Why pods cannot be had here, or nothing."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and redirect rules"
    try:
        tools.find_envoy(os.environ)
        tools.find_iptables_restore(os.environ)
    except EnvironmentUnfit as error:
        return str(error)
    return ""


MARKS = [pytest.mark.netns, pytest.mark.envoy, pytest.mark.skipif(bool(unfit()), reason=unfit())]
"""For `pytestmark` of a module whose tests start pods."""


_PLACES = Path("/run")
"""Where labs of tests live: pytest keeps tmp_path where Envoy's user cannot enter."""


@contextmanager
def laboratory(tmp_path: Path) -> Iterator[Lab]:
    """A lab at a place of its own, beside labs that may run on this machine; nothing of it is left."""
    for abandoned in _PLACES.glob("mini-istiod-test-*"):
        owner = abandoned.name.split("-")[3]
        if not Path(f"/proc/{owner}").exists():
            # Another run that begins just now may be clearing it, too; what is left is the next one's.
            with suppress(OSError):
                _clear(Place(abandoned, f"mi-test-{owner}-"))
    place = Place(
        _PLACES / f"mini-istiod-test-{os.getpid()}-{tmp_path.name[-12:]}", f"mi-test-{os.getpid()}-"
    )
    try:
        with Lab(place) as lab:
            yield lab
    finally:
        _clear(place)
        assert netns.names(place.prefix) == ()


S = TypeVar("S")


def scenes(make: Callable[[Lab], S]) -> Any:
    """The fixture of a module whose tests share one scene, in a laboratory of its own."""

    @pytest.fixture(scope="module")
    def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S]:
        with laboratory(tmp_path_factory.mktemp("scene")) as lab:
            yield make(lab)

    return scene


def _clear(place: Place) -> None:
    """End and remove whatever is left of labs at a place, and the place."""
    site.sweep(place)
    (place.root / "labs.lock").unlink(missing_ok=True)
    place.root.rmdir()


# -- config dumps -------------------------------------------------------------------------------

# When, in which version and after which failures: that is history, not configuration.
_HISTORY = frozenset({"last_updated", "version_info", "error_state", "client_status"})
# What Envoy keeps in the order in which it came, or in that of a hash table.
_UNORDERED = frozenset(
    {
        "dynamic_active_clusters",
        "dynamic_warming_clusters",
        "dynamic_listeners",
        "dynamic_route_configs",
        "dynamic_endpoint_configs",
        "static_endpoint_configs",
        "endpoints",
        "lb_endpoints",
    }
)
_DUMPS = ("ClustersConfigDump", "ListenersConfigDump", "RoutesConfigDump", "EndpointsConfigDump")


def normal_form(admin: Admin) -> dict[str, Any]:
    """What an Envoy runs with, so that two of them can be compared.

    That is its config_dump with endpoints: clusters, listeners, routes and endpoints; without times,
    versions and error states; without listeners that are only being drained, and the routes that only
    those use; and with every list sorted whose order says nothing.
    """
    dumps = {dump["@type"].rpartition(".")[2]: dump for dump in admin.config_dump()["configs"]}
    found = {name: _normal("", dumps[name]) for name in _DUMPS}
    listeners, routes = found["ListenersConfigDump"], found["RoutesConfigDump"]
    listeners["dynamic_listeners"] = [
        {key: state for key, state in one.items() if key != "draining_state"}
        for one in listeners.get("dynamic_listeners", [])
        if one.keys() - {"name", "draining_state"}
    ]
    used = _route_names(listeners)
    routes["dynamic_route_configs"] = [
        one for one in routes.get("dynamic_route_configs", []) if one["route_config"]["name"] in used
    ]
    return found


def _route_names(value: Any) -> set[str]:
    """The names of the route configurations that listeners fetch."""
    if isinstance(value, dict):
        own = {value["route_config_name"]} if "route_config_name" in value else set()
        return own.union(*map(_route_names, value.values()))
    if isinstance(value, list):
        return set().union(*map(_route_names, value))
    return set()


def _normal(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _normal(name, item) for name, item in sorted(value.items()) if name not in _HISTORY}
    if isinstance(value, list):
        items = [_normal("", item) for item in value]
        return sorted(items, key=json.dumps) if key in _UNORDERED else items
    return value


def warming(dump: dict[str, Any]) -> list[str]:
    """The clusters and listeners of a normal form that are not in use yet."""
    found = [one["cluster"]["name"] for one in dump["ClustersConfigDump"].get("dynamic_warming_clusters", [])]
    listeners = dump["ListenersConfigDump"].get("dynamic_listeners", [])
    return found + [one["name"] for one in listeners if "warming_state" in one]


def contents(dump: dict[str, Any]) -> dict[str, str]:
    """A normal form as "kind/list/name" -> JSON text: differences in it are easy to name."""
    found: dict[str, str] = {}
    for kind, lists in dump.items():
        for name, items in lists.items():
            for number, item in enumerate(items if isinstance(items, list) else [items]):
                found[f"{kind}/{name}/{_name(item) or number}"] = json.dumps(item, sort_keys=True)
    return found


def _name(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    inner = item.get("cluster") or item.get("route_config") or item.get("endpoint_config") or item
    return str(inner.get("name") or inner.get("cluster_name") or "")
