"""The wire format, read without knowing the message."""

from __future__ import annotations

import pytest

from controlplane.base import wire
from controlplane.envoy import pb


def test_fields_of_a_message_and_bytes_that_are_none() -> None:
    message = pb.cluster.Cluster(name="a", lb_policy=2)
    message.common_lb_config.healthy_panic_threshold.value = 1.5
    body = pb.deterministic(message) + wire.tag(900, 1) + bytes(8) + wire.tag(901, 5) + bytes(4)
    found = [*wire.spans(body)]
    assert [number for number, *_ in found] == [1, 6, 27, 900, 901]
    assert body[found[0][2] : found[0][3]] == b"a"
    for bad in (b"\x0a\x05abc", b"\x0b", b"\xff", b"\x0a"):
        with pytest.raises(ValueError, match="byte"):
            [*wire.spans(bad)]
