"""`mini-istiod iptables` without a kernel: its flags, what it prints, and which programs it would use."""

from __future__ import annotations

import argparse
import ipaddress
import os
from pathlib import Path

import pytest

from controlplane.app import iptables_command, xtables
from controlplane.app.commands import main
from controlplane.app.iptables_command import add_arguments, interception_of
from controlplane.app.xtables import Tables, families, foreign_namespace, tables_of
from controlplane.base.errors import EnvironmentUnfit
from controlplane.inject.iptables import DOCKERS_DNS, Interception, nat_rules

ADDRESS = "fd000000000000000000000000000002 0e 40 00 80     eth0\n"
LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of a container with IPv4, whose process has all capabilities."""
    (tmp_path / "net").mkdir()
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text("Name:\tx\nCapEff:\t000001ffffffffff\n")
    (tmp_path / "net/dev").write_text("Inter-|   Receive\n face |bytes\n    lo: 1 2\n  eth0: 3 4\n")
    monkeypatch.setattr(xtables, "_PROC", tmp_path)
    return tmp_path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which alone programs are looked for."""
    folder = tmp_path / "sbin"
    folder.mkdir()
    monkeypatch.setattr(xtables, "_PLACES", str(folder))
    return folder


def install(folder: Path, name: str, script: str = "exit 0") -> None:
    for what in ("save", "restore"):
        path = folder / f"{name}-{what}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def asked(*words: str) -> Interception:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return interception_of(parser.parse_args(words))


def test_without_flags_all_is_redirected_but_what_the_proxy_serves_and_dockers_dns() -> None:
    assert asked() == Interception(resolvers=(DOCKERS_DNS,))


def test_flags_are_those_of_istio() -> None:
    short = asked(
        *("-p", "1", "-z", "2", "-u", "3", "-g", "4", "-m", "REDIRECT", "-b", "80,81", "-d", "22, 23"),
        *("-i", "10.96.0.1/12", "-x", "10.1.0.0/16,fd00::/8", "-q", "443", "-o", "25", "-c", "eth1,tun0"),
    )
    assert short == Interception(
        proxy_uid=3,
        proxy_gid=4,
        outbound_port=1,
        inbound_port=2,
        include_inbound=(80, 81),
        exclude_inbound=(15020, 15021, 15090, 22, 23),
        include_outbound=(ipaddress.ip_network("10.96.0.0/12"),),
        exclude_outbound=(ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")),
        include_outbound_ports=(443,),
        exclude_outbound_ports=(25,),
        exclude_interfaces=("eth1", "tun0"),
        resolvers=(DOCKERS_DNS,),
    )
    long = asked(
        *("--envoy-port", "1", "--inbound-capture-port", "2", "--proxy-uid", "3", "--proxy-gid", "4"),
        *("--istio-inbound-interception-mode", "REDIRECT", "--istio-inbound-ports", "80,81"),
        *("--istio-local-exclude-ports", "22,23", "--istio-service-cidr", "10.96.0.0/12"),
        *("--istio-service-exclude-cidr", "10.1.0.0/16,fd00::/8", "--istio-outbound-ports", "443"),
        *("--istio-local-outbound-ports-exclude", "25", "--istio-exclude-interfaces", "eth1,tun0"),
    )
    assert long == short


def test_queries_for_names_are_taken_from_the_name_servers_of_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "resolv.conf"
    monkeypatch.setattr(iptables_command, "RESOLV_CONF", found)
    found.write_text("search x\nnameserver 10.96.0.10\nnameserver fd00::1\n nameserver 10.96.0.10\n# no\n")
    assert asked("--redirect-dns").capture_dns == (ipaddress.ip_network("10.96.0.10/32"),)
    assert asked("--redirect-dns", "--capture-all-dns").capture_dns is None
    assert asked("--capture-all-dns").capture_dns == ()
    found.write_text("nameserver fd00::1\n")
    with pytest.raises(EnvironmentUnfit, match="names no IPv4 name server"):
        asked("--redirect-dns")
    found.unlink()
    with pytest.raises(EnvironmentUnfit, match="cannot be read"):
        asked("--redirect-dns")


def test_all_and_nothing_can_be_said() -> None:
    assert asked("-b", "*", "-i", "*") == asked()
    nothing = asked("-b", "", "-i", "")
    assert (nothing.include_inbound, nothing.include_outbound) == ((), ())


@pytest.mark.parametrize(
    "words, message",
    [
        (("-p", "0"), "'0' cannot be used: a port is wanted, from 1 to 65535"),
        (("-d", "22,ssh"), "'22,ssh' cannot be used: a port is wanted"),
        (("-u", "envoy"), "'envoy' cannot be used: a number is wanted, such as 1337"),
        (("-i", "10.0.0.0/33"), "'10.0.0.0/33' does not appear to be an IPv4 or IPv6 network"),
        (("-c", "eth0 -j ACCEPT"), "'eth0 -j ACCEPT' is no interface"),
        (("-c", "eth0\n-F"), "is no interface"),
        (("-c", "an-interface-too-long"), "is no interface"),
        (("-m", "TPROXY"), "invalid choice: 'TPROXY'"),
    ],
)
def test_a_flag_that_makes_no_sense(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["iptables", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_prints_what_would_be_written(
    proc: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (proc / "self/status").write_text("CapEff:\t0000000000000000\n")
    assert main(["iptables", "--dry-run"]) == 0
    header = "# IPv4, for iptables-restore --noflush\n"
    assert capsys.readouterr().out == header + nat_rules(asked())
    (proc / "net/if_inet6").write_text(ADDRESS)
    assert main(["iptables", "-n", "-d", "22"]) == 0
    assert capsys.readouterr().out == (
        f"{header}{nat_rules(asked('-d', '22'))}"
        f"# IPv6, for iptables-restore --noflush\n{nat_rules(asked('-d', '22'), 6)}"
    )


def test_without_the_right_nothing_is_tried(
    proc: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (proc / "self/status").write_text("CapEff:\t00000000a80425fb\n")  # what Docker gives by default
    assert main(["iptables"]) == 2
    said = capsys.readouterr().err
    assert "take root and the capability NET_ADMIN" in said and "cap_add: [NET_ADMIN]" in said


def test_ipv6_counts_where_others_can_reach_it(proc: Path) -> None:
    assert families() == (4,)
    (proc / "net/if_inet6").write_text(LOOPBACK)
    assert families() == (4,)
    (proc / "net/if_inet6").write_text(LOOPBACK + ADDRESS)
    assert families() == (4, 6)


def test_rules_go_where_dockers_are(proc: Path, programs: Path) -> None:
    for name in ("iptables-nft", "iptables-legacy", "iptables", "ip6tables-nft", "ip6tables-legacy"):
        install(programs, name)
    assert tables_of(4) == Tables(4, "iptables-nft")
    (proc / "net/ip_tables_names").write_text("filter\nnat\n")
    assert tables_of(4) == Tables(4, "iptables-legacy")
    assert tables_of(6) == Tables(6, "ip6tables-nft")
    (proc / "net/ip6_tables_names").write_text("nat\n")
    assert tables_of(6) == Tables(6, "ip6tables-legacy")


def test_a_kernel_that_has_only_the_other_tables_gets_those(proc: Path, programs: Path) -> None:
    install(programs, "iptables-nft", "echo Protocol not supported >&2; exit 3")
    install(programs, "iptables-legacy")
    assert tables_of(4) == Tables(4, "iptables-legacy")


def test_a_machine_without_the_two_names_has_one(proc: Path, programs: Path) -> None:
    install(programs, "iptables")
    assert tables_of(4) == Tables(4, "iptables")
    with pytest.raises(
        EnvironmentUnfit, match="ip6tables-restore is not there, and IPv6 has to be redirected"
    ):
        tables_of(6)


def test_the_programs_own_words_are_told(
    proc: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(programs, "iptables", "cat > /dev/null; [ $1 = -t ] || { echo no owner match >&2; exit 1; }")
    assert main(["iptables"]) == 2
    said = capsys.readouterr().err
    assert "the kernel refuses the redirection rules: no owner match (iptables-restore;" in said


def test_rules_that_are_taken_and_do_not_stay_are_told(
    proc: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(programs, "iptables")
    assert main(["iptables"]) == 2
    assert "iptables took the rules and does not have them" in capsys.readouterr().err


@pytest.mark.parametrize("bridge", ["docker0", "br-235af3ad0641", "cni0", "virbr0"])
def test_a_machine_is_not_redirected_by_mistake(
    proc: Path, programs: Path, capsys: pytest.CaptureFixture[str], bridge: str
) -> None:
    (proc / "net/dev").write_text(f"    lo: 1 2\n {bridge}: 3 4\n")
    assert foreign_namespace() == bridge
    written = programs / "written"
    install(programs, "iptables", f"[ $1 = -t ] || touch {written}")
    assert main(["iptables"]) == 2
    assert f"no container's network namespace: it has the interface {bridge}" in capsys.readouterr().err
    assert not written.exists()


def test_legacy_programs_find_a_place_for_their_lock(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs, "iptables", 'echo "$XTABLES_LOCKFILE"')
    monkeypatch.delenv("XTABLES_LOCKFILE", raising=False)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != "/run" and access(path, mode))
    assert Tables(4, "iptables").saved() == "/dev/shm/mini-istiod-xtables.lock\n"
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert Tables(4, "iptables").saved() == "\n"
