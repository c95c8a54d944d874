"""Packets that walk through the rules of a table, as the kernel would have them.

A packet is a dict of what the matches look at; the walk knows the few matches that the rules use.
"""

from __future__ import annotations

import ipaddress
import shlex


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
    "-i": "in",
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
        equal = _equal(word, value, str(packet.get(FIELDS[word])))
        if equal == negated:
            return False
        negated = False
    return True


def _equal(word: str, value: str, found: str) -> bool:
    if word in ("-s", "-d"):
        return ipaddress.ip_address(found) in ipaddress.ip_network(value)
    return found == value
