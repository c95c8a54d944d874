"""Containers that share a network are one workload, as the containers of a pod are.

    web                              its own network: a workload without a sidecar
    reviews-v1-envoy                 a sidecar, by its label `mini-istiod.proxy: reviews-v1` …
      reviews-v1, reviews-v1-init    … and what joins its network: the application, and an init container
    ingressgateway                   a proxy called like its own service: a gateway, with nobody behind

The owner of the network has the addresses, the names and the published ports; the application says with its
labels what it is.  A workload is ready when all of it that runs is healthy and the application does run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from controlplane.model.keys import Labels, labels_of
from controlplane.model.problem import Problem
from controlplane.model.tls_mode import MUTUAL, TLS_MODE, said_mutual
from controlplane.sources.docker import labels, mistakes, names
from controlplane.sources.docker.container import INIT, Attachment, Container
from controlplane.sources.docker.labels import ServedPort
from controlplane.sources.docker.ports import served_ports
from controlplane.sources.docker.stranded import without_stranded

MOST_PAIRS = 1000
"""Names times ports of a workload: each pair is a part of every proxy's configuration."""


class Place(NamedTuple):
    """Where containers become objects: their namespace, and the networks that count (None: all)."""

    namespace: str
    networks: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs behind one network of its own.

    `name` is its pod's; `container` the one that Problems name.  `hosts` are the names that clients dial,
    `ports` where it serves; `addresses` is () while it does not run, and the first is where endpoints are.
    `proxied`: its name is its proxy's.
    """

    name: str
    container: Container
    hosts: tuple[str, ...]
    ports: tuple[ServedPort, ...]
    labels: Labels
    account: str
    addresses: tuple[str, ...]
    ready: bool
    terminating: bool
    proxied: bool

    @property
    def mutual(self) -> bool:
        """Whether it has a sidecar with a certificate."""
        return said_mutual(self.labels)


class _Group(NamedTuple):
    """The owner of a network and who joins it; `proxy` is its name where the owner is one, else "".

    `alone`: nobody ever joined; False where somebody is there who does not count.
    """

    owner: Container
    joined: tuple[Container, ...]
    proxy: str
    alone: bool

    @property
    def sidecar(self) -> bool:
        return bool(self.proxy) and names.pod_name(names.service_of(self.owner)) != self.proxy

    @property
    def apps(self) -> tuple[Container, ...]:
        """The application, what else runs beside it, and last the owner: whose labels come first."""
        if not self.sidecar:
            return (self.owner, *self.joined)
        named = ((names.pod_name(names.service_of(one)), one) for one in self.joined)
        apps = [
            (name, one) for name, one in named if one.label(INIT) is None and name != f"{self.proxy}-init"
        ]
        apps.sort(key=lambda pair: (pair[0] != self.proxy, not pair[1].running, pair[1].name))
        return tuple(one for _, one in apps)


def workloads(containers: Iterable[Container], place: Place) -> tuple[list[Workload], list[Problem]]:
    """All workloads of these containers by name, and what is wrong with the containers."""
    problems: list[Problem] = []
    groups = list(_groups(sorted(containers, key=lambda one: (one.name, one.id)), place, problems))
    groups = list(_without_bypassed(groups, place, problems))
    preferred = _by_reach(groups, place)
    found: list[Workload] = []
    for group in groups:
        workload = _workload(group, place, preferred, problems)
        if workload is not None:
            found.append(workload)
    return list(_named_apart(found)), problems


def _groups(containers: Sequence[Container], place: Place, problems: list[Problem]) -> Iterator[_Group]:
    owners = {one.id: one for one in containers if not one.joins}
    by_name = {one.name: one.id for one in owners.values()}
    joined: dict[str, list[Container]] = {}
    for one in containers:
        if not one.joins:
            continue
        where = one.joins if one.joins in owners else by_name.get(one.joins, "")
        joined.setdefault(where, []).append(one)
    lost = joined.pop("", [])
    problems += (
        mistakes.orphan(one, place.namespace, [other for other in lost if other.joins == one.joins])
        for one in lost
        if one.running
    )
    taken: dict[str, Container] = {}
    # A name that two have belongs to the older one; one that does not run takes it from nobody.
    for owner in sorted(owners.values(), key=lambda one: (not one.running, one.created, one.name)):
        proxy = labels.proxy_name(owner, place.namespace)
        if isinstance(proxy, Problem):
            problems.append(proxy)
            proxy = None
        if proxy and owner.running and proxy in taken:
            problems.append(mistakes.second_proxy(owner, place.namespace, proxy, taken[proxy]))
            continue
        if proxy and owner.running:
            taken[proxy] = owner
        kept, stranded = without_stranded(owner, joined.get(owner.id, ()), place.namespace)
        problems += stranded
        yield _Group(owner, kept, proxy or "", alone=not stranded)


def _without_bypassed(groups: Sequence[_Group], place: Place, problems: list[Problem]) -> Iterator[_Group]:
    """The groups, and a warning for each application that runs beside its sidecar, as by a plain file."""
    owners = [one.owner for one in groups if not one.proxy and one.owner.running]
    plain = {_identity(one, ""): one for one in owners if not names.is_one_off(one.label(names.ONE_OFF))}
    for group in groups:
        beside = plain.get(_identity(group.owner, group.proxy)) if group.sidecar else None
        if beside is None or any(one.running for one in group.apps):
            yield group
            continue
        problems.append(mistakes.bypassed(beside, place.namespace, group.owner))
        yield group._replace(alone=False)


def _identity(container: Container, name: str) -> tuple[str, str]:
    """(project, pod) of what a container is, or of a proxy's application by its name."""
    service = container.label(names.SERVICE) or ""
    return container.label(names.PROJECT) or "", name or (service and names.pod_name(service))


def _copies(group: _Group, place: Place) -> Iterator[Problem]:
    """A warning for each further container of a service behind one sidecar, as by `up --scale`."""
    first: dict[str, Container] = {}
    for one in sorted(group.apps, key=lambda one: one.name) if group.sidecar else ():
        service, number = one.label(names.SERVICE), one.label(names.NUMBER)
        if not service or not number or names.is_one_off(one.label(names.ONE_OFF)):
            continue
        other = first.setdefault(service, one)
        # Who replaces another has its number, and both are there for a moment.
        if other.label(names.NUMBER) != number:
            yield mistakes.copies(one, place.namespace, other, group.owner)


def _by_reach(groups: Iterable[_Group], place: Place) -> tuple[str, ...]:
    """The networks that count, the one that most workloads are on first: there they reach each other."""
    members = Counter(
        attachment.network
        for group in groups
        for attachment in group.owner.networks
        if place.networks is None or attachment.network in place.networks
    )
    return tuple(sorted(members, key=lambda network: (-members[network], network)))


def _workload(
    group: _Group, place: Place, preferred: Sequence[str], problems: list[Problem]
) -> Workload | None:
    owner, apps = group.owner, group.apps
    if owner.network_mode == "none":
        return None
    if owner.network_mode == "host":
        problems += [mistakes.on_the_host(owner, place.namespace)] if owner.running else []
        return None
    addresses = tuple(_addresses(owner, preferred)) if owner.running else ()
    if owner.running and not any(one.network in preferred for one in owner.networks):
        problems.append(mistakes.unreachable(owner, place.namespace))
    said = labels.said((*apps, owner) if group.sidecar else apps, place.namespace)
    problems += said.problems
    if group.sidecar and not apps and owner.running and group.alone:
        problems.append(mistakes.without_application(owner, place.namespace, group.proxy))
    problems += _copies(group, place)
    main = apps[0] if apps else owner
    service = names.service_of(main) if apps else group.proxy
    hosts = said.services
    if hosts is None:
        hosts = names.dns_names(owner, place.networks, sidecar=group.sidecar)
        if group.sidecar and not hosts:
            hosts = (service.lower(),)
        hosts = tuple(_usable(main, hosts, place, problems))
    hosts = tuple(sorted({names.short_name(host, place.namespace) for host in hosts}))
    ports = served_ports(owner, apps, said, proxy=bool(group.proxy))
    if (most := max(1, MOST_PAIRS // max(1, len(hosts)))) < len(ports):
        problems.append(mistakes.many_ports(main, place.namespace, (len(hosts), len(ports)), most))
        ports = ports[:most]
    account = said.account or names.default_account(service)
    # Who has only its own names and serves nothing calls others, and is as it should be.
    own = {service.lower(), account, main.name.lower(), owner.name.lower()}
    explicit = said.services is not None
    if not ports and apps and main.running and (hosts if explicit else {*hosts} - own):
        problems.append(mistakes.without_ports(main, place.namespace, hosts, explicit=explicit))
    return Workload(
        name=group.proxy or names.object_name(owner.name),
        container=main,
        hosts=hosts,
        ports=ports,
        labels=_labels(group, service, account, said.version),
        account=account,
        addresses=addresses,
        ready=bool(addresses) and _is_ready(group),
        terminating=any(one.stopping or one.state == "removing" for one in (owner, main)),
        proxied=bool(group.proxy),
    )


def _addresses(owner: Container, preferred: Sequence[str]) -> Iterator[str]:
    """The addresses on the networks that count; each network's IPv4 address comes first."""
    on: dict[str, Attachment] = {one.network: one for one in owner.networks}
    attached = [on[network] for network in preferred if network in on]
    yield from (one.address for one in attached if one.address)
    yield from (one.address6 for one in attached if one.address6)


def _is_ready(group: _Group) -> bool:
    apps = group.apps
    if not apps or not apps[0].running:
        return False
    # Whatever else shares the network and has ended was a job, and says nothing.
    alive = [group.owner, apps[0], *(one for one in apps[1:] if one.running)]
    return all(one.state == "running" and one.health in ("", "healthy") for one in alive)


def _labels(group: _Group, service: str, account: str, version: str | None) -> Labels:
    found = labels.workload_labels((*group.apps, group.owner))
    found.setdefault("app", account)
    if version:
        found["version"] = version
    elif names.default_version(service):
        found.setdefault("version", names.default_version(service))
    if group.sidecar:
        found.setdefault(TLS_MODE, MUTUAL)
    return labels_of(found)


def _usable(
    container: Container, hosts: Iterable[str], place: Place, problems: list[Problem]
) -> Iterator[str]:
    for host in hosts:
        if names.is_host(host):
            yield host
        else:
            problems.append(mistakes.no_host(container, place.namespace, host))


def _named_apart(found: Iterable[Workload]) -> Iterator[Workload]:
    """Workloads whose names differ; of two with one name the proxy keeps it, then the one that runs."""
    taken: set[str] = set()
    in_order = sorted(found, key=lambda one: (not one.proxied, not one.addresses, one.container.name))
    named: list[Workload] = []
    for workload in in_order:
        name = workload.name
        if name in taken:
            name = f"{name}-{names.object_name(workload.container.id[:12])}"
        taken.add(name)
        named.append(workload if name == workload.name else replace(workload, name=name))
    yield from sorted(named, key=lambda one: one.name)
