"""EnvoyFilters in the graph: for whom they are, in which order they count, what they share and run."""

from __future__ import annotations

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import CLUSTER, EXTENSION, LISTENER, ROUTE, VIRTUAL_HOST
from controlplane.mesh.patches import UNPATCHED
from tests.support.envoy_filters import envoy_filter, patch
from tests.unit.envoy.patching import OUT, WEB, sidecar, timeout, timeouts, world
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import service

# -- for whom -----------------------------------------------------------------------------------------


def test_only_those_whom_a_selector_chooses_leave_the_shared_maps() -> None:
    made = world(envoy_filter(timeout(3), app="web"))
    assert set(timeouts(made, sidecar(made)).values()) == {3}
    other = sidecar(made, "api")
    assert other.patches == UNPATCHED
    assert feeds(other)[CLUSTER] == feeds(sidecar(world(), "api"))[CLUSTER]
    # Of the one who was chosen only the clusters are its own.
    bare = sidecar(made)._replace(patches=UNPATCHED)
    for url in (LISTENER, ROUTE):
        assert feeds(sidecar(made))[url] == feeds(bare)[url]


def test_one_of_the_root_namespace_is_for_the_mesh_and_one_of_another_for_nobody_here() -> None:
    made = world(
        envoy_filter(timeout(3), namespace="istio-system"), envoy_filter(timeout(4), namespace="prod")
    )
    assert set(timeouts(made, sidecar(made)).values()) == {3}


def test_targets_are_of_no_sidecar() -> None:
    refs = [{"kind": "Gateway", "name": "g"}]
    made = world(envoy_filter(timeout(3), targetRefs=refs))
    assert sidecar(made).patches == UNPATCHED


def test_a_proxy_is_matched_by_its_version_and_by_what_it_says() -> None:
    made = world(
        envoy_filter(
            timeout(3, proxy={"proxyVersion": r"^1\.2"}, cluster={"service": WEB}),
            timeout(
                4, proxy={"metadata": {"CLUSTER_ID": "west"}}, cluster={"name": f"outbound|80||api.{WEB[4:]}"}
            ),
        )
    )
    silent = timeouts(made, sidecar(made))
    assert silent == {WEB: 10, f"api.{WEB[4:]}": 10}
    told = timeouts(made, sidecar(made, ISTIO_VERSION="1.29.0", CLUSTER_ID="west"))
    assert told == {WEB: 3, f"api.{WEB[4:]}": 4}
    assert timeouts(made, sidecar(made, ISTIO_VERSION="2.1.2", CLUSTER_ID="east")) == silent


def test_contexts() -> None:
    made = world(
        envoy_filter(
            timeout(3, context="SIDECAR_INBOUND"), timeout(4, context=OUT), timeout(5, context="GATEWAY")
        )
    )
    found = {name: one.connect_timeout.seconds for name, one in made.clusters(sidecar(made)).items()}
    inbound = {name for name, seconds in found.items() if seconds == 3}
    assert inbound == {"inbound|8080||", "InboundPassthroughCluster"}
    assert {found[name] for name in found.keys() - inbound} == {4}
    gateway = made.view("router~10.0.0.9~gw.default~default.svc.cluster.local", {"NAMESPACE": "default"})
    assert {one.connect_timeout.seconds for one in made.clusters(gateway).values()} == {5}


# -- in which order -----------------------------------------------------------------------------------


def test_priority_then_the_root_namespace_then_age_then_name() -> None:
    def said(made: Traffic) -> str:
        view = sidecar(made)
        return "".join(ref.key.name for ref in view.patches.outbound.clusters)

    made = world(
        envoy_filter(timeout(1), name="b", created="2024-01-02T00:00:00Z"),
        envoy_filter(timeout(1), name="a", created="2024-01-02T00:00:00Z"),
        envoy_filter(timeout(1), name="c", created="2024-01-01T00:00:00Z"),
        envoy_filter(timeout(1), name="r", created="2024-01-09T00:00:00Z", namespace="istio-system"),
        envoy_filter(timeout(1), name="l", priority=5, namespace="istio-system"),
        envoy_filter(timeout(1), name="f", priority=-5),
    )
    assert said(made) == "frcabl"
    # A new patch does not move its EnvoyFilter, and all of one EnvoyFilter's stand together.
    made.apply(envoy_filter(timeout(1), timeout(2), name="c", created="2024-01-01T00:00:00Z"))
    assert said(made) == "frccabl"


# -- what is shared, and what runs --------------------------------------------------------------------


def test_what_no_patch_is_for_keeps_its_bytes() -> None:
    made = world(envoy_filter(timeout(3, cluster={"service": WEB})))
    mine = made.resources(feeds(sidecar(made))[CLUSTER])
    theirs = made.resources(feeds(sidecar(made)._replace(patches=UNPATCHED))[CLUSTER])
    assert {name for name in mine if mine[name] is not theirs[name]} == {
        f"outbound|80||{WEB}",
        "inbound|8080||",
    }


def test_proxies_with_equal_patches_share_what_comes_out() -> None:
    made = world(envoy_filter(timeout(3)))
    first, second = (
        made.resources(feeds(sidecar(made))[CLUSTER]),
        made.resources(feeds(sidecar(made, "api"))[CLUSTER]),
    )
    shared = {name for name in first.keys() & second.keys() if name != "inbound|8080||"}
    assert len(shared) > 3
    assert all(first[name] is second[name] for name in shared)


def test_an_edit_of_a_value_runs_what_it_is_applied_to() -> None:
    match = {"context": OUT, "cluster": {"service": WEB}}
    listener = {"context": OUT, "listener": {"portNumber": 80}}
    limit = patch("LISTENER", "MERGE", {"per_connection_buffer_limit_bytes": 9}, **listener)
    made = world(envoy_filter(timeout(3, **match), limit))
    view = sidecar(made)
    made.clusters(view), made.listeners(view)
    with made.counting() as runs:
        made.apply(envoy_filter(timeout(4, **match), limit))
        assert timeouts(made, view)[WEB] == 4
        made.listeners(view)
    assert sidecar(made) == view
    assert runs["clusters.patched_cluster"] == 1
    assert runs["listeners.patched_listener"] == 0
    assert runs["clusters.cluster"] == 0


def test_an_edit_of_one_virtual_host_patches_no_other() -> None:
    everywhere = patch("VIRTUAL_HOST", "MERGE", {"include_attempt_count_in_response": True}, context=OUT)
    made = world(envoy_filter(everywhere))
    for number in range(20):
        made.apply(service(f"s{number}", "http=80", ip=f"10.96.1.{number}"))
    view = sidecar(made)
    assert all(host.include_attempt_count_in_response for host in made.routes(view)["80"].virtual_hosts)
    with made.counting() as runs:
        made.apply(service("s3", "http=80, more=81", ip="10.96.1.99"))
        made.routes(view)
    assert runs["routes.patched_host"] <= 2
    assert runs["routes.patched_configuration"] <= 2


def test_nothing_is_left_when_an_envoy_filter_goes() -> None:
    made = world()
    before = made.resources(feeds(sidecar(made))[CLUSTER])
    made.apply(envoy_filter(timeout(3), patch("CLUSTER", "ADD", {"name": "more", "type": "STATIC"})))
    assert "more" in made.resources(feeds(sidecar(made))[CLUSTER])
    made.delete("EnvoyFilter", "it")
    assert made.resources(feeds(sidecar(made))[CLUSTER]) == before


# -- clusters, listeners and extensions that are added -------------------------------------------------


def test_what_is_there_already_is_not_added() -> None:
    made = world(
        envoy_filter(
            patch("CLUSTER", "ADD", {"name": f"outbound|80||{WEB}", "type": "STATIC"}),
            patch("CLUSTER", "ADD", {"name": "twice", "type": "STATIC"}),
            patch("CLUSTER", "ADD", {"name": "twice", "type": "EDS"}),
            patch("LISTENER", "ADD", {"name": "virtualOutbound"}),
        )
    )
    found = made.clusters(sidecar(made))
    assert found[f"outbound|80||{WEB}"].type == pb.cluster.Cluster.EDS
    assert found["twice"].type == pb.cluster.Cluster.STATIC
    assert made.listeners(sidecar(made))["virtualOutbound"].address.socket_address.port_value == 15001


def test_removed_and_added_is_replaced() -> None:
    name = f"outbound|80||{WEB}"
    eds = {"name": name, "type": "EDS", "eds_cluster_config": {"service_name": "other"}}
    made = world(
        envoy_filter(patch("CLUSTER", "REMOVE", cluster={"name": name}), patch("CLUSTER", "ADD", eds))
    )
    view = sidecar(made)
    assert made.clusters(view)[name].eds_cluster_config.service_name == "other"
    assert made.resources(feeds(view)[CLUSTER])[name].refs == ("other",)


def test_extensions_are_a_type_of_their_own() -> None:
    value = {
        "name": "e",
        "typed_config": {"@type": f"{pb.TYPE_PREFIX}google.protobuf.Struct", "value": {"a": 1}},
    }
    made = world(envoy_filter(patch("EXTENSION_CONFIG", "ADD", value)))
    (found,) = made.resources(feeds(sidecar(made))[EXTENSION]).values()
    assert pb.extension.TypedExtensionConfig.FromString(found.body).name == "e"
    assert EXTENSION not in feeds(sidecar(world()))


def test_a_sidecar_whose_virtual_hosts_are_patched_is_given_all_of_them() -> None:
    named = patch("VIRTUAL_HOST", "MERGE", {"include_attempt_count_in_response": True}, context=OUT)
    assert VIRTUAL_HOST not in feeds(sidecar(world(envoy_filter(named))), on_demand=True)
    assert VIRTUAL_HOST in feeds(sidecar(world(envoy_filter(timeout(3)))), on_demand=True)
