"""Numbers written into objects are found in responses, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy import pb
from controlplane.lab.churn import markers

numbers = st.integers(1, markers.LAST)


def assignment(*addresses: str, port: int = 9080) -> bytes:
    message = pb.endpoint.ClusterLoadAssignment(cluster_name="outbound|80||a")
    for one in addresses:
        where = message.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
        where.address, where.port_value = one, port
    return message.SerializeToString()


@given(st.sets(numbers, max_size=5), st.sets(numbers, max_size=5))
def test_what_was_written_is_found(in_addresses: set[int], in_words: set[int]) -> None:
    body = assignment(*map(markers.address, sorted(in_addresses)))
    body += b"".join(b"\x0a" + markers.word(one).encode() for one in sorted(in_words))
    assert markers.found(body) == in_addresses | in_words


@given(st.ip_addresses(v=4).map(str))
def test_other_addresses_are_not_numbers(address: str) -> None:
    expected = {int.from_bytes(bytes(map(int, address.split(".")[1:])), "big")} - {0}
    assert markers.found(assignment(address)) == (expected if address.startswith("11.") else set())


@pytest.mark.parametrize(
    "address",
    ["211.0.0.1", "20.11.0.0", "1.11.0.0.1", "11.0.0.256", "11.0.0.01", "11.0.0", "11.0.0.1.5", "::11.0.0.1"],
)
def test_likenesses(address: str) -> None:
    assert markers.found(assignment(address)) == set()


def test_a_digit_after_the_address_is_not_part_of_it() -> None:
    # A field of number 6 begins with the byte "0".
    assert markers.found(b"\x12\x0811.0.0.10") == {1}
    assert markers.found(b"\x12\x0911.0.0.100") == {10}


@pytest.mark.parametrize(
    "text", [b"change-0000004", b"change-000000420", b"Change-00000042", b"change-99999999"]
)
def test_other_words(text: bytes) -> None:
    assert markers.found(b"\x0a\x0f" + text + b"\x12") == set()


@pytest.mark.parametrize("number", [0, -1, 2**24])
def test_what_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(markers.NumberError):
        markers.address(number)
    with pytest.raises(markers.NumberError):
        markers.word(number)
