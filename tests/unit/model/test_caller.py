"""What a call brings along, and who counts as being on this machine."""

from __future__ import annotations

import pytest

from controlplane.model.caller import Door, is_local_peer, is_loopback, presented

LOCAL = "ipv4:127.0.0.1:4711"


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("unix:", True),
        ("unix:/run/x.sock", True),
        ("unix-abstract:x", True),
        ("ipv4:127.0.0.1:1", True),
        ("ipv4:127.8.8.8:1", True),
        ("ipv6:%5B::1%5D:1", True),
        ("ipv6:[::1]:1", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:1", True),
        ("ipv4:10.0.0.1:1", False),
        ("ipv6:%5B::ffff:10.0.0.1%5D:1", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", False),
        ("ipv4:0.0.0.0:1", False),
        ("", False),
        ("127.0.0.1:1", False),
        ("dns:localhost:1", False),
        ("ipv4:localhost:1", False),
        # What Envoy's inbound side sends on from others comes from there.
        ("ipv4:127.0.0.6:1", False),
    ],
)
def test_who_is_on_this_machine(peer: str, local: bool) -> None:
    assert is_local_peer(peer) is local


def test_a_scope_is_no_part_of_an_address() -> None:
    assert is_loopback("::1%lo")
    assert not is_loopback("fe80::1%lo")


class Call:
    def peer(self) -> str:
        return LOCAL

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return (("x", "y"), ("authorization", "Bearer one"), ("authorization", b"Bearer \xff"))

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [b"pem"], "x509_common_name": [b""]}


def test_what_a_call_brings_along_is_shown_nowhere() -> None:
    found = presented(Door.TOKEN, Call())
    assert found.authorization == ("Bearer one", "Bearer \ufffd")
    assert found.certificate == b"pem"
    assert repr(found) == f"Presented(door={Door.TOKEN!r}, peer={LOCAL!r})"
