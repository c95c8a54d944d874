"""What happens in a mesh on an ordinary day, and on a bad one.

Each function fills a plan; its keyword arguments are the options of the workload of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from controlplane.lab.churn import markers
from controlplane.lab.churn.arrivals import Arrivals, Chance, every, poisson
from controlplane.lab.churn.objects import Pod, Raw, endpoint_slice, service, service_entry
from controlplane.lab.churn.plan import Plan, Step
from controlplane.lab.churn.scenario import WorkloadError
from controlplane.lab.churn.workload import Edit, Reconnect


def endpoint_rotation(plan: Plan, *, arrivals: Arrivals | str = "every:1", pods: int = 1) -> None:
    """Each time `pods` random pods are replaced."""
    chance = plan.chance("pods")

    def rotate(_: float) -> Iterator[Edit]:
        gone: dict[int, list[Pod]] = {}
        for _ in range(pods):
            i = chance.number(plan.mesh.services)
            left = [pod for pod in plan.loose(i) if pod not in gone.get(i, ())]
            if left:
                gone.setdefault(i, []).append(chance.one(left))
        for i, some in sorted(gone.items()):
            yield from plan.rotate(i, some)

    _repeat(plan, arrivals, rotate)


def virtual_service_edits(plan: Plan, *, arrivals: Arrivals | str = "every:1") -> None:
    """Each time one VirtualService gets other weights."""
    _rule_edits(plan, arrivals, plan.mesh.has_virtual_service, plan.virtual_service)


def destination_rule_edits(plan: Plan, *, arrivals: Arrivals | str = "every:1") -> None:
    """Each time one DestinationRule gets another limit and another header to hash by."""
    _rule_edits(plan, arrivals, plan.mesh.has_destination_rule, plan.destination_rule)


def mixed(
    plan: Plan, *, endpoints: float = 1.0, virtual_services: float = 0.1, destination_rules: float = 0.05
) -> None:
    """Independent Poisson processes of all three; the options are their rates per second (0 = none)."""
    for name, rate, fill in (
        ("endpoints", endpoints, endpoint_rotation),
        ("virtual services", virtual_services, virtual_service_edits),
        ("destination rules", destination_rules, destination_rule_edits),
    ):
        if rate > 0:
            # Each process has its own stream of chance.
            fill(plan, arrivals=_own(plan, poisson(rate), name))


def rolling_deployment(
    plan: Plan, *, arrivals: Arrivals | str = "every:20:1", step: float = 1.0, surge: int = 1
) -> None:
    """Each time a random service begins to replace its pods, `surge` each `step` seconds.

    In a mesh with versions all pods get the next version.
    """
    chance = plan.chance("services")
    running: set[int] = set()
    version: dict[int, int] = {}

    def begin(at: float) -> Iterator[Edit]:
        idle = [i for i in range(plan.mesh.services) if i not in running]
        if not idle:
            return
        i = chance.one(idle)
        running.add(i)
        version[i] = version.get(i, 1) % plan.mesh.versions + 1
        yield from advance(i, list(plan.loose(i)), at)

    def advance(i: int, old: list[Pod], at: float) -> Iterator[Edit]:
        yield from plan.rotate(i, old[:surge], f"v{version[i]}" if plan.mesh.versions > 1 else "")
        if left := old[surge:]:
            plan.at(at + step, lambda then: advance(i, left, then))
        else:
            running.discard(i)

    if surge < 1 or step <= 0:
        raise WorkloadError("rolling-deployment needs a surge of at least 1 and a step greater than 0")
    _repeat(plan, arrivals, begin)


def config_burst(plan: Plan, *, arrivals: Arrivals | str = "every:10:1", objects: int = 100) -> None:
    """Each time `objects` objects are written at once: VirtualServices, one a service, then endpoints."""
    services = plan.mesh.services
    if not 1 <= objects <= 2 * services:
        raise WorkloadError(f"config-burst: {services} services allow 1 to {2 * services} objects at once")
    chance = plan.chance("objects")

    def burst(_: float) -> Iterator[Edit]:
        for i in chance.some(range(services), min(objects, services)):
            yield plan.virtual_service(i, chance)
        for i in chance.some(range(services), max(0, objects - services)):
            yield from plan.rotate(i, [chance.one(plan.loose(i))])

    _repeat(plan, arrivals, burst)


def namespace_onboarding(
    plan: Plan,
    *,
    arrivals: Arrivals | str = "every:10:1",
    services: int = 5,
    pods: int = 3,
    stay: float = 0.0,
) -> None:
    """Each time a namespace with new services arrives; it leaves after `stay` seconds (0 = never)."""
    made = 0

    def arrive(at: float) -> Iterator[Edit]:
        nonlocal made
        made += 1
        edits: list[Edit] = []
        namespace = f"team-{made}"
        if plan.mesh.dialect == "kubernetes":
            raw: Raw = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            edits.append(plan.put(lambda _: raw, marked=False))
        for n in range(services):
            edits += _new_service(plan, namespace, (made - 1) * services + n, pods)
        if stay > 0:
            plan.at(at + stay, lambda _: (plan.delete(edit.raw) for edit in reversed(edits)))
        yield from edits

    if services < 1 or pods < 1:
        raise WorkloadError("namespace-onboarding needs at least one service and one pod")
    _repeat(plan, arrivals, arrive)


def node_failure(plan: Plan, *, arrivals: Arrivals | str = "every:20:1", recovery: float = 5.0) -> None:
    """Each time a machine fails: its pods go away, and the first new one of each service comes up.

    The others follow `recovery` seconds later.
    """
    if plan.mesh.nodes < 3:
        raise WorkloadError("node-failure needs a mesh with at least 3 nodes: Mesh(nodes=10)")
    chance = plan.chance("nodes")

    def fail(at: float) -> Iterator[Edit]:
        node = f"node-{1 + chance.number(plan.mesh.nodes - 1)}"
        for i in range(plan.mesh.services):
            gone = [pod for pod in plan.loose(i) if pod.node == node]
            if gone:
                first, *rest = plan.spares(i, gone, avoid=node)
                yield from plan.turn(i, gone, [first])
                if rest:
                    plan.at(at + recovery, lambda _, i=i, rest=rest: plan.turn(i, (), rest))  # type: ignore[misc]

    _repeat(plan, arrivals, fail)


def reconnect_storm(
    plan: Plan,
    *,
    arrivals: Arrivals | str = "every:20:5",
    fraction: float = 1.0,
    edits: Arrivals | str = "every:1",
) -> None:
    """Each time that share of the proxies loses its connection, while pods are replaced."""
    if not 0 < fraction <= 1:
        raise WorkloadError("reconnect-storm: fraction is a share of all proxies, above 0 and at most 1")
    plan.storms += [Reconnect(at, fraction) for at in plan.times(arrivals, "storms")]
    endpoint_rotation(plan, arrivals=edits)


def airbnb(plan: Plan, *, pods: int = 5, rotate: float = 10.0, edit: float = 5.0) -> None:
    """`pods` pods are replaced each `rotate` seconds, and a VirtualService changes each `edit` seconds."""
    endpoint_rotation(plan, arrivals=every(rotate), pods=pods)
    virtual_service_edits(plan, arrivals=every(edit))


# -- what they share ------------------------------------------------------------------------------------


def _repeat(plan: Plan, arrivals: Arrivals | str, step: Step) -> None:
    for at in plan.times(arrivals):
        plan.at(at, step)


def _own(plan: Plan, arrivals: Arrivals, purpose: str) -> Arrivals:
    return lambda _: arrivals(plan.chance(purpose))


def _rule_edits(
    plan: Plan, arrivals: Arrivals | str, has: Callable[[int], bool], edit: Callable[[int, Chance], Edit]
) -> None:
    ruled: Sequence[int] = [i for i in range(plan.mesh.services) if has(i)]
    if not ruled:
        raise WorkloadError(f"the mesh has no such rule to edit ({has.__name__} is true of no service)")
    chance = plan.chance(has.__name__)
    _repeat(plan, arrivals, lambda _: [edit(chance.one(ruled), chance)])


def _new_service(plan: Plan, namespace: str, n: int, pods: int) -> Iterator[Edit]:
    """A service that was not there, named for its change, and who serves it."""
    vip = f"10.200.{n // 256}.{n % 256}"

    def members(number: int) -> list[Pod]:
        # Beside the mesh's own addresses, which begin at 20.
        others = [f"19.{n // 256}.{n % 256}.{k}" for k in range(1, pods)]
        return [Pod("", address) for address in (markers.address(number), *others)]

    if plan.mesh.dialect == "serviceentry":
        yield plan.put(lambda number: service_entry(markers.word(number), namespace, vip, members(number)))
        return
    made = plan.put(lambda number: service(markers.word(number), namespace, vip))
    yield made
    yield plan.put(lambda number: endpoint_slice(made.key.name, namespace, members(number)))
