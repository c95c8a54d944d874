"""A resource's bytes are what protobuf itself would write, and equal content is an equal resource."""

from __future__ import annotations

import pytest

from controlplane.envoy import pb, types
from controlplane.envoy.resource import Resource, resource


def _listener(name: str = "a") -> Resource:
    return resource(types.LISTENER, name, pb.listener.Listener(name=name), refs=("80",))


def test_sotw_frames_join_to_a_discovery_response() -> None:
    one, two = _listener("a"), _listener("b")
    response = pb.discovery.DiscoveryResponse.FromString(one.sotw_frame + two.sotw_frame)
    assert [any_.type_url for any_ in response.resources] == [types.LISTENER] * 2
    assert response.resources[1].value == two.body
    assert pb.deterministic(response) == one.sotw_frame + two.sotw_frame


def test_delta_frames_join_to_a_delta_response() -> None:
    one = _listener()
    response = pb.discovery.DeltaDiscoveryResponse.FromString(one.delta_frame)
    (framed,) = response.resources
    assert (framed.name, framed.version, framed.resource.value) == ("a", one.version, one.body)
    assert pb.deterministic(response) == one.delta_frame


def test_an_empty_body_is_framed_as_protobuf_does() -> None:
    empty = Resource(types.ENDPOINT, "x", b"")
    response = pb.discovery.DiscoveryResponse.FromString(empty.sotw_frame)
    assert pb.deterministic(response) == empty.sotw_frame


def test_equality_and_version_follow_content() -> None:
    assert _listener() == _listener()
    assert hash(_listener()) == hash(_listener())
    assert _listener().version == _listener().version
    assert _listener("a") != _listener("b")
    assert _listener("a").version != _listener("b").version


def test_frames_are_computed_once() -> None:
    one = _listener()
    assert one.delta_frame is one.delta_frame
    assert one.sotw_frame is one.sotw_frame


def test_maps_are_written_in_key_order() -> None:
    forward, backward = pb.base.Metadata(), pb.base.Metadata()
    for name in "abcdef":
        forward.filter_metadata[name].SetInParent()
    for name in "fedcba":
        backward.filter_metadata[name].SetInParent()
    assert pb.deterministic(forward) == pb.deterministic(backward)
    assert pb.pack(forward).value == pb.pack(backward).value


def test_pack_names_the_type() -> None:
    assert pb.pack(pb.listener.Listener()).type_url == types.LISTENER


@pytest.mark.parametrize(("nanos", "expected"), [(0, (0, 0)), (1, (0, 1)), (2_500_000_000, (2, 500_000_000))])
def test_duration(nanos: int, expected: tuple[int, int]) -> None:
    duration = pb.duration(nanos)
    assert (duration.seconds, duration.nanos) == expected


def test_push_order_is_the_order_of_types() -> None:
    assert [spec.short for spec in types.TYPES] == ["cds", "eds", "sds", "lds", "rds", "vhds", "ecds"]
    assert [spec.order for spec in types.TYPES] == sorted(spec.order for spec in types.TYPES)
    for spec in types.TYPES:
        assert spec.refers_to is None or types.BY_URL[spec.refers_to].order > spec.order


def test_frames_of_small_resources_are_kept_and_those_of_large_ones_are_not() -> None:
    small, large = Resource(types.ROUTE, "a", b"x"), Resource(types.ROUTE, "a", b"x" * 100_000)
    for frame in ("sotw_frame", "delta_frame"):
        assert getattr(small, frame) is getattr(small, frame)
        assert getattr(large, frame) is not getattr(large, frame)
        assert getattr(large, frame) == getattr(large, frame)


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_the_pieces_of_a_frame_are_the_frame(size: int) -> None:
    one = Resource(types.ROUTE, "a", b"x" * size)
    assert b"".join(one.sotw_pieces()) == one.sotw_frame
    assert b"".join(one.delta_pieces()) == one.delta_frame
    response = pb.discovery.DeltaDiscoveryResponse.FromString(one.delta_frame)
    assert response.resources[0].resource.value == one.body
    assert pb.deterministic(response) == one.delta_frame
