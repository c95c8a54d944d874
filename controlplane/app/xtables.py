"""The kernel's nat tables through the iptables programs: which of them to use, and what they need.

Linux has two sets of tables, and a program for each: nf_tables and the older x_tables ("legacy").  Both sets
work at once, which confuses everybody; so the rules go where Docker's are in this namespace, and to nf_tables
where there are none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit
from controlplane.inject.iptables import Family

_NET_ADMIN = 12
_WITHIN = 30.0
"""Seconds for one run of a program; it waits for others that have the lock."""
_PROC = Path("/proc")
_STEMS: dict[Family, str] = {4: "iptables", 6: "ip6tables"}
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_LOCK = "/dev/shm/mini-istiod-xtables.lock"


@dataclass(frozen=True, slots=True)
class Tables:
    """The nat table of one address family; `name` is that of the programs, such as "iptables-nft"."""

    family: Family
    name: str

    def saved(self) -> str:
        """All rules that are there now; EnvironmentUnfit with the program's own words."""
        return _run([*_program(self.name, "save"), "-t", "nat"], "")

    def restore(self, rules: str) -> None:
        """Do what the text says, all of it or, with EnvironmentUnfit, nothing; leave other rules alone."""
        if rules:
            _run([*_program(self.name, "restore"), "--noflush"], rules)


def families() -> tuple[Family, ...]:
    """By which a workload in this namespace can be reached: IPv6 where an interface has an address."""
    try:
        lines = (_PROC / "net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:  # a kernel without IPv6
        return (4,)
    return (4, 6) if any(line.split()[-1:] != ["lo"] for line in lines) else (4,)


def tables_of(family: Family) -> Tables:
    """Where the rules belong in this namespace; EnvironmentUnfit when there is no program to write them."""
    stem = _STEMS[family]
    kinds = ["nft", "legacy"]
    if _has_legacy_nat(family):
        kinds.reverse()
    found = [name for name in (*(f"{stem}-{kind}" for kind in kinds), stem) if _found(name)]
    if not found:
        raise EnvironmentUnfit(
            f"{stem}-restore is not there, and IPv{family} has to be redirected: run this in the image "
            "mini-istiod, or install the package iptables"
        )
    for name in found[:-1]:
        tables = Tables(family, name)
        try:
            tables.saved()
        except EnvironmentUnfit:
            continue  # a kernel that has only the other tables; the last one tells what is wrong
        return tables
    return Tables(family, found[-1])


def lacks_right() -> str:
    """Why this process cannot write rules, "" when it can."""
    if _may_administrate():
        return ""
    return (
        "redirection rules take root and the capability NET_ADMIN, which this process has not: "
        'user: "0:0" and cap_add: [NET_ADMIN], and NET_RAW where Docker uses iptables-legacy'
    )


def foreign_namespace() -> str:
    """An interface by which this is a machine's namespace and no container's; "" when there is none."""
    try:
        lines = (_PROC / "net/dev").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    names = sorted(line.partition(":")[0].strip() for line in lines if ":" in line)
    return next((name for name in names if name == "docker0" or name.startswith(("br-", "cni", "virbr"))), "")


def _may_administrate() -> bool:
    for line in (_PROC / "self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _NET_ADMIN & 1)
    return os.geteuid() == 0


def _has_legacy_nat(family: Family) -> bool:
    """Whether somebody, Docker for one, has made a legacy nat table in this namespace."""
    names = "net/ip_tables_names" if family == 4 else "net/ip6_tables_names"
    try:
        return "nat" in (_PROC / names).read_text(encoding="ascii").split()
    except OSError:  # no such tables in this kernel
        return False


def _found(name: str) -> bool:
    return all(shutil.which(f"{name}-{what}", path=_PLACES) for what in ("save", "restore"))


def _program(name: str, what: str) -> list[str]:
    return [shutil.which(f"{name}-{what}", path=_PLACES) or f"{name}-{what}"]


def _run(command: list[str], given: str) -> str:
    environment = dict(os.environ)
    if not os.access("/run", os.W_OK):
        # Legacy programs want a lock, and a read-only root file system has no place for it.
        environment.setdefault("XTABLES_LOCKFILE", _LOCK)
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=_WITHIN,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentUnfit(f"{name} cannot be run: {error}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise EnvironmentUnfit(
            f"the kernel refuses the redirection rules: {said} ({name}; it takes the capability NET_ADMIN, "
            "with iptables-legacy NET_RAW too, and the host's modules for nat and owner)"
        )
    return done.stdout
