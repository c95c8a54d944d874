"""What authors of AuthorizationPolicies are told that only other objects show."""

from __future__ import annotations

from controlplane.mesh.checks import checks
from controlplane.model.keys import Ref
from tests.support.guarded import policy
from tests.unit.mesh.world import World

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: foo, labels: {app: web}}
spec: {containers: [{name: web}]}
status: {podIP: 10.0.0.1, phase: Running}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: foo}
spec:
  clusterIP: 10.96.0.1
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: tcp, port: 90, targetPort: 9090}
  - {name: x, port: 99}
---
"""
MESH = """
kind: MeshConfig
extensionProviders:
- {name: known, envoyExtAuthzGrpc: {service: web.foo.svc.cluster.local, port: 90}}
- {name: astray, envoyExtAuthzGrpc: {service: web.foo.svc.cluster.local, port: 91}}
- {name: traces, zipkin: {service: z, port: 1}}
---
"""


def told(world: World, name: str, namespace: str = "foo") -> list[str]:
    found = world.map(checks).get(Ref("AuthorizationPolicy", namespace, name), ())
    assert all(problem.level == "warning" and problem.remedy for problem in found)
    return [f"{problem.field}: {problem.message}" for problem in found]


def test_a_selector_that_selects_nobody() -> None:
    selecting = "{selector: {matchLabels: {app: other}}}"
    where = "spec.selector.matchLabels"
    world = World(policy("p", selecting) + policy("q", "{}"))
    # Where no workload is known at all, nothing can be said.
    assert told(world, "p") == []
    world.apply(POD)
    assert told(world, "p") == [
        f"{where}: no workload of namespace foo has the labels app=other: the policy holds for nobody"
    ]
    assert told(world, "q") == []
    world.apply(POD.replace("app: web", "app: other"))
    assert told(world, "p") == []


def test_a_selector_of_the_root_namespace_selects_everywhere() -> None:
    root = "istio-system"
    world = World(POD + policy("p", "{selector: {matchLabels: {app: web}}}", namespace=root))
    assert told(world, "p", root) == []
    world.apply(policy("p", "{selector: {matchLabels: {app: nobody}}}", namespace=root))
    assert told(world, "p", root) == [
        "spec.selector.matchLabels: no workload has the labels app=nobody: the policy holds for nobody"
    ]


def test_http_on_a_port_without() -> None:
    to = '{to: [{operation: {ports: ["%s"], methods: [GET]}}]}'
    allow = f"{{rules: [{to % 8080}, {to % 9090}, {to % 99}]}}"
    world = World(POD + SERVICE + policy("p", allow))
    said = "spec.rules[1]: port 9090 speaks no HTTP: the rule, which asks about requests, "
    assert told(world, "p") == [f"{said}is left out there"]
    world.apply(policy("p", allow.replace("{rules", "{action: DENY, rules")))
    assert told(world, "p") == [f"{said}holds for every connection to it"]
    world.apply(policy("p", allow.replace("{rules", "{selector: {matchLabels: {app: other}}, rules")))
    assert not any("9090" in one for one in told(world, "p"))
    world.apply(policy("p", '{rules: [{to: [{operation: {ports: ["9090"]}}]}]}'))
    assert told(world, "p") == []


RENAMED = (
    "80 is a port of Service foo/web, which leads to the workloads' port 8080; "
    "it is the latter that has to be named"
)


def test_ports_are_those_of_workloads() -> None:
    named = '{action: DENY, rules: [{}, {to: [{operation: {%s: ["1", "%s"]}}]}]}'
    for field in ("ports", "notPorts"):
        world = World(POD + SERVICE + policy("p", named % (field, 80)))
        assert told(world, "p") == [f"spec.rules[1].to[0].operation.{field}[1]: {RENAMED}"]
        for right in (8080, 90 + 9000, 99, 5555):
            world.apply(policy("p", named % (field, right)))
            assert told(world, "p") == []
    for field in ("values", "notValues"):
        when = f'{{key: source.ip, values: ["::1"]}}, {{key: destination.port, {field}: ["80"]}}'
        rules = f"{{rules: [{{when: [{when}]}}]}}"
        world.apply(policy("p", rules))
        assert told(world, "p") == [f"spec.rules[0].when[1].{field}[0]: {RENAMED}"]


def test_a_number_may_be_a_port_of_another_workload() -> None:
    deny = '{%saction: DENY, rules: [{to: [{operation: {ports: ["80"]}}]}]}'
    other = SERVICE.replace("name: web", "name: raw").replace("app: web", "app: raw")
    other = other.replace(", targetPort: 8080", "")
    world = World(POD + SERVICE + other + policy("p", deny % ""))
    assert told(world, "p") == []
    world.apply(policy("p", deny % "selector: {matchLabels: {app: web}}, "))
    assert told(world, "p") == [f"spec.rules[0].to[0].operation.ports[0]: {RENAMED}"]
    world.apply(policy("p", deny % "selector: {matchLabels: {app: web}}, ", namespace="istio-system"))
    assert told(world, "p", "istio-system") == [f"spec.rules[0].to[0].operation.ports[0]: {RENAMED}"]
    # For the whole mesh, the number may be anybody's.
    world.apply(policy("p", deny % "", namespace="istio-system"))
    assert told(world, "p", "istio-system") == []


def test_a_port_by_name_without_http() -> None:
    deny = "{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}"
    ports = POD.replace("{name: web}]", "{name: web, ports: [{name: raw, containerPort: 9090}]}]")
    world = World(ports + SERVICE.replace("targetPort: 9090", "targetPort: raw") + policy("p", deny))
    (line,) = told(world, "p")
    assert "at port 9090, where no HTTP is spoken" in line


def test_a_denial_of_requests_closes_other_ports() -> None:
    deny = "{action: DENY, rules: [{%s}]}"
    admin = "to: [{operation: {paths: [/admin]%s}}]"
    world = World(POD + SERVICE + policy("p", deny % (admin % "")))
    assert told(world, "p") == [
        "spec.rules[0]: asks about requests, and names no ports: at port 9090, where no HTTP is spoken, it "
        "counts without that, and so for more connections"
    ]
    for harmless in (
        deny % (admin % ", notPorts: ['9090']"),
        deny % (admin % ", ports: ['8080']"),
        deny % (admin % "" + ", when: [{key: destination.port, values: ['8080']}]"),
        deny % "from: [{source: {namespaces: [bar]}}]",
        "{rules: [{%s}]}" % (admin % ""),
    ):
        world.apply(policy("p", harmless))
        assert told(world, "p") == []


def test_who_is_asked() -> None:
    custom = "{action: CUSTOM, provider: {name: %s}, rules: [{}]}"
    world = World(POD + SERVICE + MESH + policy("p", custom % "known"))
    assert told(world, "p") == []
    for name in ("nobody", "traces"):
        world.apply(policy("p", custom % name))
        assert told(world, "p") == [
            f"spec.provider.name: there is no extensionProvider '{name}' that authorizes: "
            "what the rules match is denied"
        ]
    world.apply(policy("p", custom % "astray"))
    assert told(world, "p") == [
        "spec.provider.name: there is no service web.foo.svc.cluster.local with port 91, "
        "which 'astray' names: what the rules match is denied"
    ]


def test_tokens_come_too_late_for_custom() -> None:
    who = '{from: [{source: {requestPrincipals: ["*"]}}]}'
    rules = f"[{{}}, {who}, {{when: [{{key: request.auth.audiences, values: [a]}}]}}]"
    world = World(
        SERVICE + MESH + policy("p", f"{{action: CUSTOM, provider: {{name: known}}, rules: {rules}}}")
    )
    assert [one.partition(":")[0] for one in told(world, "p")] == ["spec.rules[1]", "spec.rules[2]"]
    assert "nobody has one" in told(world, "p")[0]
