"""The redirect rules: what they catch, judged by walking packets through the text.

So the tests say what happens to traffic, and a rule that moves without changing that breaks nothing.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network as Network4

import pytest

from controlplane.inject.iptables import (
    DOCKERS_DNS,
    Interception,
    Network,
    are_there,
    nat_rules,
    removal,
)
from tests.unit.inject.walk import outcome

APP, ENVOY = 1000, 1337
POD, PEER, VIP = "10.244.0.2", "10.244.0.9", "10.96.0.10"


def sent(
    destination: str, port: int, owner: int, *, source: str = POD, out: str = "eth0"
) -> dict[str, object]:
    return {
        "protocol": "tcp",
        "source": source,
        "destination": destination,
        "dport": port,
        "uid": owner,
        "gid": owner,
        "out": out,
    }


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (sent(VIP, 9080, APP), "15001"),
        (sent(PEER, 9080, APP), "15001"),
        (sent(VIP, 9080, ENVOY), "pass"),
        # Envoy hands an inbound request to the application.
        (sent(POD, 9080, ENVOY, source="127.0.0.6", out="lo"), "pass"),
        # The application called itself through its service, and Envoy chose this pod.
        (sent(POD, 9080, ENVOY, out="lo"), "15006"),
        (sent(POD, 15008, ENVOY, out="lo"), "pass"),
        # The application talks to itself.
        (sent("127.0.0.1", 8000, APP, source="127.0.0.1", out="lo"), "pass"),
        (sent(POD, 8000, APP, out="lo"), "pass"),
        # Envoy's own loopback calls, for example its Prometheus listener asking its admin port.
        (sent("127.0.0.1", 15000, ENVOY, source="127.0.0.1", out="lo"), "pass"),
        ({**sent(VIP, 53, APP), "protocol": "udp"}, "pass"),
    ],
)
def test_outbound(packet: dict[str, object], expected: str) -> None:
    assert outcome(nat_rules(Interception()), "OUTPUT", packet) == expected


@pytest.mark.parametrize("owner", [{"uid": ENVOY, "gid": 0}, {"uid": 0, "gid": ENVOY}])
def test_user_and_group_of_the_proxy_count_each_for_itself(owner: dict[str, object]) -> None:
    assert outcome(nat_rules(Interception()), "OUTPUT", {**sent(VIP, 80, 0), **owner}) == "pass"


@pytest.mark.parametrize("port", [9080, 80, 22, 15001, 15006])
def test_inbound_is_redirected(port: int) -> None:
    # 15001 and 15006 too: who knocks there from outside must meet Envoy's guard, not a loop.
    assert outcome(nat_rules(Interception()), "PREROUTING", {"protocol": "tcp", "dport": port}) == "15006"


@pytest.mark.parametrize("port", [15008, 15020, 15021, 15090])
def test_what_the_proxy_serves_itself_is_not_redirected(port: int) -> None:
    assert outcome(nat_rules(Interception()), "PREROUTING", {"protocol": "tcp", "dport": port}) == "pass"


def test_ports_and_user_are_settings() -> None:
    rules = nat_rules(Interception(proxy_uid=7, outbound_port=1, inbound_port=2, exclude_inbound=(99,)))
    assert outcome(rules, "OUTPUT", sent(VIP, 80, APP)) == "1"
    assert outcome(rules, "OUTPUT", sent(VIP, 80, 7)) == "pass"
    assert outcome(rules, "OUTPUT", sent(VIP, 80, ENVOY)) == "1"
    assert outcome(rules, "PREROUTING", {"protocol": "tcp", "dport": 15021}) == "2"
    assert outcome(rules, "PREROUTING", {"protocol": "tcp", "dport": 99}) == "pass"


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


def came(port: int, interface: str = "eth0") -> dict[str, object]:
    return {"protocol": "tcp", "dport": port, "in": interface}


def test_only_some_ports_come_in_by_the_proxy() -> None:
    rules = nat_rules(Interception(include_inbound=(80, 81), exclude_inbound=(81,)))
    assert [outcome(rules, "PREROUTING", came(port)) for port in (80, 81, 82)] == ["15006", "pass", "pass"]
    rules = nat_rules(Interception(include_inbound=()))
    assert outcome(rules, "PREROUTING", came(80)) == "pass"


def test_only_some_networks_are_reached_by_the_proxy() -> None:
    some = Interception(
        include_outbound=networks("10.96.0.0/12"),
        exclude_outbound=networks("10.96.0.0/24"),
        include_outbound_ports=(443,),
        exclude_outbound_ports=(9443,),
    )
    rules = nat_rules(some)
    assert outcome(rules, "OUTPUT", sent("10.97.0.1", 80, APP)) == "15001"
    assert outcome(rules, "OUTPUT", sent("10.97.0.1", 9443, APP)) == "pass"
    assert outcome(rules, "OUTPUT", sent("10.96.0.1", 80, APP)) == "pass"
    assert outcome(rules, "OUTPUT", sent("10.96.0.1", 443, APP)) == "pass"
    assert outcome(rules, "OUTPUT", sent("192.0.2.1", 80, APP)) == "pass"
    assert outcome(rules, "OUTPUT", sent("192.0.2.1", 443, APP)) == "15001"
    assert outcome(rules, "OUTPUT", sent("192.0.2.1", 443, ENVOY)) == "pass"


def test_interfaces_can_be_left_out() -> None:
    rules = nat_rules(Interception(exclude_interfaces=("eth1", "tun0")))
    assert [outcome(rules, "PREROUTING", came(80, name)) for name in ("eth0", "eth1")] == ["15006", "pass"]
    found = [outcome(rules, "OUTPUT", sent(PEER, 80, APP, out=name)) for name in ("eth0", "eth1", "tun0")]
    assert found == ["15001", "pass", "pass"]


@pytest.mark.parametrize("owner", [APP, ENVOY])
def test_dockers_dns_is_asked_by_everybody_without_the_proxy(owner: int) -> None:
    question = sent("127.0.0.11", 53, owner, source="127.0.0.1", out="lo")
    assert outcome(nat_rules(Interception(resolvers=(DOCKERS_DNS,))), "OUTPUT", question) == "pass"
    # Without the rule Envoy's own question would come in as a call to its workload.
    caught = outcome(nat_rules(Interception()), "OUTPUT", question)
    assert caught == ("15006" if owner == ENVOY else "pass")


def test_the_group_can_be_another_number() -> None:
    rules = nat_rules(Interception(proxy_gid=7))
    assert outcome(rules, "OUTPUT", {**sent(VIP, 80, APP), "gid": 7}) == "pass"
    assert outcome(rules, "OUTPUT", {**sent(VIP, 80, APP), "gid": ENVOY}) == "15001"
    assert outcome(rules, "OUTPUT", {**sent(VIP, 80, ENVOY), "gid": 0}) == "pass"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (sent("2001:db8::9", 80, APP, source="2001:db8::2"), "15001"),
        (sent("2001:db8::9", 80, ENVOY, source="2001:db8::2"), "pass"),
        (sent("2001:db8::2", 80, ENVOY, source="2001:db8::2", out="lo"), "15006"),
        (sent("::1", 80, APP, source="::1", out="lo"), "pass"),
        (sent("::1", 80, ENVOY, source="::1", out="lo"), "pass"),
        (sent("2001:db8:1::9", 80, APP, source="2001:db8::2"), "pass"),
    ],
)
def test_ipv6_has_the_same_rules(packet: dict[str, object], expected: str) -> None:
    both = networks("2001:db8:1::/48", "10.0.0.0/8")
    rules = nat_rules(Interception(exclude_outbound=both, resolvers=(DOCKERS_DNS,)), 6)
    assert outcome(rules, "OUTPUT", packet) == expected
    assert outcome(rules, "PREROUTING", came(80)) == "15006"
    assert "127.0.0" not in rules and "10.0.0.0" not in rules


def test_the_text_declares_the_chains_that_it_fills() -> None:
    lines = nat_rules(Interception()).splitlines()
    assert (lines[0], lines[-1]) == ("*nat", "COMMIT")
    declared = {line.split()[0].removeprefix(":") for line in lines if line.startswith(":")}
    used = {line.split()[1] for line in lines if line.startswith("-A ")} - {"PREROUTING", "OUTPUT"}
    assert declared == used == {"ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT"}


STANDING = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [3:4]
:DOCKER_OUTPUT - [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
COMMIT
"""


def test_what_is_there_is_not_added_again() -> None:
    jumps = [line for line in nat_rules(Interception(), 4, STANDING).splitlines() if "-j ISTIO_" in line]
    assert "-A PREROUTING -p tcp -j ISTIO_INBOUND" not in jumps
    assert "-A OUTPUT -p tcp -j ISTIO_OUTPUT" in jumps


def test_only_what_is_there_and_ours_is_taken_away() -> None:
    assert removal(STANDING).splitlines() == [
        "*nat",
        "-D PREROUTING -p tcp -j ISTIO_INBOUND",
        "-F ISTIO_INBOUND",
        "-F ISTIO_OUTPUT",
        "-X ISTIO_INBOUND",
        "-X ISTIO_OUTPUT",
        "COMMIT",
    ]
    others = "".join(line for line in STANDING.splitlines(keepends=True) if "ISTIO" not in line)
    assert removal(others) == ""
    assert are_there(STANDING) and not are_there(others)


NAME_SERVER = Network4("10.96.0.2/32")
QUERY: dict[str, object] = {
    "out": "eth0",
    "source": POD,
    "destination": "10.96.0.2",
    "dport": 53,
    "protocol": "udp",
    "uid": APP,
    "gid": APP,
}


@pytest.mark.parametrize(
    ("servers", "changed", "expected"),
    [
        ((NAME_SERVER,), {}, "15053"),
        ((NAME_SERVER,), {"destination": "8.8.8.8"}, "pass"),
        (None, {"destination": "8.8.8.8"}, "15053"),
        (None, {"dport": 5353}, "pass"),
        (None, {"uid": ENVOY, "gid": ENVOY}, "pass"),
        (None, {"uid": APP, "gid": ENVOY}, "pass"),
        ((), {}, "pass"),
        # By TCP the resolver is asked itself; without capture it is dialled like everything else.
        ((NAME_SERVER,), {"protocol": "tcp"}, "pass"),
        ((NAME_SERVER,), {"protocol": "tcp", "destination": "8.8.8.8"}, "15001"),
        (None, {"protocol": "tcp", "destination": "8.8.8.8"}, "pass"),
        ((), {"protocol": "tcp"}, "15001"),
        # Docker's resolver: its rules come after ours, so that the proxy's queries still meet them.
        ((DOCKERS_DNS,), {"destination": "127.0.0.11", "out": "lo"}, "15053"),
    ],
)
def test_queries(servers: tuple[Network, ...] | None, changed: dict[str, object], expected: str) -> None:
    rules = nat_rules(Interception(capture_dns=servers))
    assert outcome(rules.replace("-I OUTPUT 1 ", "-A OUTPUT "), "OUTPUT", {**QUERY, **changed}) == expected


def test_the_rules_for_queries_stand_before_those_of_others_once_and_go_again() -> None:
    rules = nat_rules(Interception(capture_dns=None))
    (jump,) = (line for line in rules.splitlines() if line.endswith("-j ISTIO_OUTPUT_DNS"))
    assert jump.startswith("-I OUTPUT 1 ")
    standing = f":ISTIO_OUTPUT_DNS - [0:0]\n{jump.replace('-I OUTPUT 1', '-A OUTPUT')}\n"
    assert jump not in nat_rules(Interception(capture_dns=None), standing=standing)
    gone = removal(standing)
    assert "-D OUTPUT -p udp -m udp --dport 53 -j ISTIO_OUTPUT_DNS" in gone
    assert "-X ISTIO_OUTPUT_DNS" in gone
    assert "DNS" not in nat_rules(Interception())
    assert "DNS" not in nat_rules(Interception(capture_dns=None), 6)
