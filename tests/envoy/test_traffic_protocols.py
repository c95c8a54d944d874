"""What is spoken besides HTTP, who is found without a virtual address, and what a Sidecar lets be seen.

client ──┬─► lines.shop:9000    TCP, two versions
         ├─► rpc.shop:7070      gRPC
         ├─► db.shop:80         headless, HTTP, one pod per name
         ├─► kv.shop:3306       headless, and the server speaks first
         ├─► any.shop:8000      nobody says what it speaks
         ├─► vm.shop:80         a machine outside of the cluster, known by a WorkloadEntry
         └─► hidden.other:80    in a namespace that a Sidecar may leave out
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.lab.pod_spec import App, PodSpec
from tests.support.chances import likely
from tests.support.envoys import MARKS, scenes
from tests.support.residents import ECHO, Resident, pod, web
from tests.support.town import Town

pytestmark = MARKS

MACHINE = "192.168.64.2"
HTTPBIN = Path(__file__).parents[1] / "support" / "httpbin.py"


def lines(word: str, port: int, *more: str) -> App:
    return App(ECHO / "tcp.py", (word, str(port), *more), opens=port)


def rpc(name: str) -> App:
    return App(ECHO / "rpc.py", (name, "7070"), opens=7070, libraries=True)


OBJECTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: lines, namespace: shop}}
spec: {{clusterIP: 10.96.0.10, selector: {{app: lines}}, ports: [{{name: tcp, port: 9000}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: rpc, namespace: shop}}
spec: {{clusterIP: 10.96.0.11, selector: {{app: rpc}}, ports: [{{name: grpc, port: 7070}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: db, namespace: shop}}
spec: {{clusterIP: None, selector: {{app: db}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: kv, namespace: shop}}
spec: {{clusterIP: None, selector: {{app: kv}}, ports: [{{name: tcp-mysql, port: 3306}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: any, namespace: shop}}
spec: {{clusterIP: 10.96.0.13, selector: {{app: any}}, ports: [{{port: 8000}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: alias, namespace: shop}}
spec: {{type: ExternalName, externalName: any.shop.svc.cluster.local}}
---
apiVersion: v1
kind: Service
metadata: {{name: hidden, namespace: other}}
spec: {{clusterIP: 10.96.0.12, selector: {{app: hidden}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: vm, namespace: shop}}
spec:
  hosts: [vm.shop.internal]
  addresses: [240.0.0.7]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]
  workloadSelector: {{labels: {{app: vm}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: vm-1, namespace: shop}}
spec: {{address: {MACHINE}, labels: {{app: vm}}, serviceAccount: vm}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: vm, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: vm}}}}, mtls: {{mode: STRICT}}}}
"""
VM = Resident(PodSpec("vm", "shop", MACHINE, {"app": "vm"}, "vm", app=web("vm", 8080)), node="")
RESIDENTS = (
    pod("client", "shop", 10),
    pod("lines-v1", "shop", 11, lines("one", 9000), app="lines", version="v1"),
    pod("lines-v2", "shop", 12, lines("two", 9000), meshed=False, app="lines", version="v2"),
    pod("rpc-1", "shop", 13, rpc("rpc-1"), app="rpc"),
    pod("rpc-2", "shop", 14, rpc("rpc-2"), app="rpc", meshed=False),
    pod("db-0", "shop", 15, web("db-0", 80), app="db", meshed=False),
    pod("db-1", "shop", 16, web("db-1", 80), app="db", meshed=False),
    pod("kv-0", "shop", 17, lines("kv-0", 3306, "--greet"), app="kv", meshed=False),
    pod("kv-1", "shop", 18, lines("kv-1", 3306, "--greet"), app="kv", meshed=False),
    pod("hidden", "other", 19, web("hidden", 80), meshed=False),
    pod("any", "shop", 20, App(HTTPBIN, ("8000",), port=8000)),
    VM,
)

town = scenes(lambda lab: Town(lab, RESIDENTS, OBJECTS))


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.apply()


# -- connections --------------------------------------------------------------------------------------


def test_lines_go_over_mutual_tls_or_as_they_are(town: Town) -> None:
    heard = Counter(town.lines("client", "lines.shop", b"hello", b"again", port=9000)[1] for _ in range(20))
    assert heard.keys() == {b"one again", b"two again"}
    # Whoever has a sidecar was met by one.
    assert town.stat("lines-v1", r"^listener\.0\.0\.0\.0_15006\.ssl\.handshake$") == heard[b"one again"]


def test_connections_are_shared_out_by_weight(town: Town) -> None:
    town.apply("""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: lines, namespace: shop}
spec: {host: lines, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lines, namespace: shop}
spec:
  hosts: [lines]
  tcp:
  - match: [{port: 9000}]
    route:
    - {destination: {host: lines, subset: v1, port: {number: 9000}}, weight: 80}
    - {destination: {host: lines, subset: v2, port: {number: 9000}}, weight: 20}
""")
    count = 200
    heard = Counter(
        word for _ in range(count) for word in town.lines("client", "lines.shop", b"x", port=9000)
    )
    assert sum(heard.values()) == count
    assert likely(heard[b"two x"], count, 0.2), heard


def test_a_server_may_speak_first(town: Town) -> None:
    for number, name in ((17, b"kv-0"), (18, b"kv-1")):
        heard = town.lines("client", f"10.244.0.{number}", b"ping", port=3306, bytes_first=True)
        assert heard == [name + b" ready", name + b" ping"]
    # By the cluster of the service, not past it: it is known who was called.
    assert (
        town.stat("client", r"^cluster\.outbound\|3306\|\|kv\.shop\.svc\.cluster\.local;\.upstream_cx_total$")
        == 2
    )


MARKED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: any, namespace: shop}
spec:
  hosts: [any]
  http: [{headers: {request: {set: {x-marked: routed}}}, route: [{destination: {host: any}}]}]
"""


def headers(town: Town, who: str, where: str, **how: Any) -> dict[str, str]:
    """What a request of somebody had when it came to the application of `any`."""
    reply = town.call(who, where, port=8000, **how)
    assert reply.status == 200, reply
    found: dict[str, str] = reply.body["headers"]
    return found


def test_what_nobody_has_said_is_found_out(town: Town) -> None:
    town.apply(MARKED)
    town.becomes("routed", lambda: headers(town, "client", "any.shop", host="any.shop:8000").get("x-marked"))
    # Bytes that are no HTTP pass on the same port, and go over mutual TLS as well.
    pattern = r"^listener\.0\.0\.0\.0_15006\.ssl\.handshake$"
    before = town.stat("any", pattern)
    assert town.lines("client", "any.shop", b"\x00\x01 hello", port=8000) == [b"echo \x00\x01 hello"]
    assert town.stat("any", pattern) == before + 1


def test_another_name_for_a_service_is_routed_as_the_service(town: Town) -> None:
    town.apply(MARKED)
    for name in ("alias.shop:8000", "alias.shop.svc.cluster.local:8000", "any:8000"):
        town.becomes(
            "routed", lambda name=name: headers(town, "client", "any.shop", host=name).get("x-marked")
        )


def test_who_calls_himself_is_heard(town: Town) -> None:
    # By his service's address as everybody else, with his own certificate.
    by_service = headers(town, "any", "any.shop", host="any.shop:8000")
    assert "URI=spiffe://cluster.local/ns/shop/sa/any" in by_service["x-forwarded-client-cert"]
    # Within the pod nobody is in between.
    for where in ("127.0.0.1", "10.244.0.20"):
        assert "x-request-id" not in headers(town, "any", where), where


# -- gRPC ---------------------------------------------------------------------------------------------


def called(town: Town, *calls: dict[str, Any]) -> list[dict[str, Any]]:
    """What became of gRPC calls to the service, on one connection."""
    order = {"target": f"{town.address('rpc.shop')}:7070", "authority": "rpc.shop:7070", "calls": calls}
    script = App(ECHO / "rpc_call.py", (json.dumps(order),), libraries=True)
    with town.lab.run_in(town.lab.pods["client"], script) as process:
        assert process.stdout is not None
        return [json.loads(line) for line in process.stdout]


def test_calls_on_one_connection_are_shared_out(town: Town) -> None:
    said = called(town, *({"method": "Say", "message": {"n": n}} for n in range(40)))
    assert {one["code"] for one in said} == {"OK"}
    assert [one["answers"][0]["said"]["n"] for one in said] == [*range(40)]
    # Each call is balanced, though the caller has one connection.
    assert {one["answers"][0]["name"] for one in said} == {"rpc-1", "rpc-2"}
    counted, failed = called(
        town, {"method": "Count", "message": {"to": 5}}, {"method": "Fail", "message": {"code": 9}}
    )
    assert [one["number"] for one in counted["answers"]] == [*range(5)]
    assert failed["code"] == "FAILED_PRECONDITION" and failed["details"].endswith("was asked to fail")


def test_calls_are_routed_by_method_and_metadata_and_told_in_grpc_what_is_wrong(town: Town) -> None:
    town.apply("""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: rpc, namespace: shop}
spec:
  hosts: [rpc]
  http:
  - match: [{uri: {prefix: /echo.Echo/Count}}]
    fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}
    route: [{destination: {host: rpc}}]
  - match: [{headers: {tenant: {exact: gold}}}]
    headers: {request: {set: {x-tier: first}}}
    route: [{destination: {host: rpc}}]
  - route: [{destination: {host: rpc}}]
""")
    gold, plain, counted = called(
        town,
        {"method": "Say", "message": {}, "metadata": {"tenant": "gold"}},
        {"method": "Say", "message": {}},
        {"method": "Count", "message": {"to": 1}},
    )
    assert gold["answers"][0]["metadata"]["x-tier"] == "first"
    assert "x-tier" not in plain["answers"][0]["metadata"]
    assert counted["code"] == "UNAVAILABLE"


# -- without a virtual address ----------------------------------------------------------------------------


def test_a_headless_service_is_called_at_its_pods(town: Town) -> None:
    for number, name in ((15, "db-0"), (16, "db-1")):
        for host in ("db.shop", f"{name}.db.shop.svc.cluster.local"):
            # What a name server would say of either name; the pod that was meant is the pod that answers.
            found = town.servers(6, "client", f"10.244.0.{number}", host=host)
            assert found == {name: 6}, host
    assert (
        town.stat("client", r"^cluster\.outbound\|80\|\|db\.shop\.svc\.cluster\.local;\.upstream_cx_total$")
        > 0
    )


def test_a_machine_is_called_and_calls(town: Town) -> None:
    assert town.servers(5, "client", "240.0.0.7", host="vm.shop.internal") == {"vm": 5}
    shown = town.call("client", "240.0.0.7", host="vm.shop.internal").body["headers"]
    assert "URI=spiffe://cluster.local/ns/shop/sa/client" in shown["x-forwarded-client-cert"]
    # Its proxy takes nobody without a certificate, and finds the others as pods do.
    assert town.call("hidden", MACHINE, port=8080).status == 0
    assert town.call("vm", "hidden.other").server == "hidden"
    assert town.lines("vm", "lines.shop", b"x", port=9000) in ([b"one x"], [b"two x"])


def test_a_machine_that_is_taken_away_gets_nothing(town: Town) -> None:
    entry = next(one for one in town.standing if one["kind"] == "WorkloadEntry")
    town.stand([one for one in town.standing if one is not entry])
    assert town.call("client", "240.0.0.7", host="vm.shop.internal", headers={"x-key": "gone"}).status == 503
    assert town.logged("client", "gone", 1) == {"503 UH": 1}
    town.stand([*town.standing, entry])
    assert town.servers(5, "client", "240.0.0.7", host="vm.shop.internal") == {"vm": 5}


# -- what is seen ---------------------------------------------------------------------------------------


def known(town: Town, who: str) -> set[str]:
    """The hosts of the clusters that somebody's Envoy was sent."""
    clusters = town.lab.pods[who].admin.config_dump("resource=dynamic_active_clusters")["configs"]
    names = (one["cluster"]["name"] for one in clusters)
    return {name.rpartition("|")[2] for name in names if name.startswith("outbound|")}


def test_what_is_not_imported_is_neither_sent_nor_reachable(town: Town) -> None:
    everything = known(town, "client")
    assert {"hidden.other.svc.cluster.local", "lines.shop.svc.cluster.local"} <= everything
    assert town.call("client", "hidden.other").server == "hidden"
    town.apply("""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  egress: [{hosts: [./*]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
""")
    town.becomes(everything - {"hidden.other.svc.cluster.local"}, lambda: known(town, "client"))
    assert town.call("client", "hidden.other", headers={"x-key": "hidden"}).status == 502
    assert town.lines("client", "lines.shop", b"x", port=9000) in ([b"one x"], [b"two x"])
    # At its pod's address it is a stranger, too.
    assert town.call("client", "10.244.0.19", host="hidden.other").status == 502
    town.apply("""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  egress: [{hosts: [other/hidden.other.svc.cluster.local]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
""")
    town.becomes({"hidden.other.svc.cluster.local"}, lambda: known(town, "client"))
    assert town.call("client", "hidden.other").server == "hidden"
    assert town.lines("client", "lines.shop", b"x", port=9000) in ([], [b""])
