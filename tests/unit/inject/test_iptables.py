"""The redirect rules: what they catch, judged by walking packets through the text.

A packet is a dict of what the matches look at; the walk knows the few matches that the rules use.  So
the tests say what happens to traffic, and a rule that moves without changing that breaks nothing.
"""

from __future__ import annotations

import shlex

import pytest

from controlplane.inject.iptables import Interception, nat_rules

APP, ENVOY = 1000, 1337
POD, PEER, VIP = "10.244.0.2", "10.244.0.9", "10.96.0.10"


def outcome(rules: str, hook: str, packet: dict[str, object]) -> str:
    """Where a packet ends: "pass", or the port that it is redirected to."""
    chains: dict[str, list[list[str]]] = {}
    for line in rules.splitlines():
        if line.startswith("-A "):
            _, chain, *rest = shlex.split(line)
            chains.setdefault(chain, []).append(rest)
    return _walk(chains, hook, packet) or "pass"


def _walk(chains: dict[str, list[list[str]]], chain: str, packet: dict[str, object]) -> str | None:
    for rule in chains[chain]:
        matches, target = rule[: rule.index("-j")], rule[rule.index("-j") + 1 :]
        if not _matches(matches, packet):
            continue
        if target[0] == "RETURN":
            return None
        if target[0] == "REDIRECT":
            return target[2]
        found = _walk(chains, target[0], packet)
        if found is not None:
            return found
    return None


FIELDS = {
    "-p": "protocol",
    "--dport": "dport",
    "-o": "out",
    "-s": "source",
    "-d": "destination",
    "--uid-owner": "uid",
    "--gid-owner": "gid",
}


def _matches(words: list[str], packet: dict[str, object]) -> bool:
    negated = False
    rest = iter(words)
    for word in rest:
        if word == "!":
            negated = True
            continue
        value = next(rest)
        if word == "-m":
            continue
        equal = str(packet.get(FIELDS[word])) == value.removesuffix("/32")
        if equal == negated:
            return False
        negated = False
    return True


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


def test_the_text_is_a_whole_table() -> None:
    lines = nat_rules(Interception()).splitlines()
    assert (lines[0], lines[-1]) == ("*nat", "COMMIT")
    declared = {line.split()[0].removeprefix(":") for line in lines if line.startswith(":")}
    used = {line.split()[1] for line in lines if line.startswith("-A ")} - {"PREROUTING", "OUTPUT"}
    assert declared == used
