"""DNS capture on real Envoys: names are answered that no resolver knows, and what is dialled then arrives.

Two databases outside the mesh listen on one port.  Without addresses of their own nobody could tell which one
is dialled; with those that they are given, and names that the pod's Envoy answers, everybody reaches the one
that he names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from tests.support.envoys import MARKS, scenes
from tests.support.residents import ECHO, Resident, outside, pod, web
from tests.support.town import Town

pytestmark = MARKS

RESOLVER = "203.0.113.53"
NAMES = {"public.example.org": ["203.0.113.11"], "db-one.example.com": ["203.0.113.11"]}
ENTRIES = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: shop}
spec:
  hosts: [db-one.example.com]
  ports: [{number: 7000, name: tcp, protocol: TCP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: shop}
spec:
  hosts: [db-two.internal]
  ports: [{number: 7000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.12}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}], selector: {app: web}}
"""
SCRIPT = Path(__file__).parents[1] / "support" / "resolve.py"


def lines(name: str) -> App:
    return App(ECHO / "tcp.py", (name, "7000"), opens=7000)


def client(name: str, number: int, **metadata: str) -> Resident:
    spec = PodSpec(
        name,
        "shop",
        f"10.244.0.{number}",
        {"app": name},
        workload=name,
        metadata=metadata,
        nameservers=(RESOLVER,),
    )
    return Resident(spec)


RESIDENTS = (
    client("client", 4, DNS_CAPTURE="true"),
    client("plain", 5),
    pod("web", "shop", 6, web("web", 80)),
    outside("one", 11, lines("one")),
    outside("two", 12, lines("two")),
    outside("names", 53, App(ECHO / "names.py", ("53", json.dumps(NAMES)))),
)


def run(town: Town, who: str, *args: str) -> Any:
    process = town.lab.run_in(town.lab.pods[who], App(SCRIPT, args))
    out, _ = process.communicate(timeout=60)
    return json.loads(out)


def inhabited(lab: Lab) -> Town:
    """The town, once its name server answers: an Envoy that has asked in vain asks again after a minute."""
    found = Town(lab, RESIDENTS, SERVICE)
    found.becomes(
        {"public.example.org": ["203.0.113.11"]}, lambda: run(found, "plain", "ask", "public.example.org")
    )
    found.apply(ENTRIES)
    # An address is given once the graph has said that one is wanted.
    found.becomes(2, lambda: len(run(found, "client", "ask", "db-two.internal")["db-two.internal"]))
    return found


town = scenes(inhabited)


def test_names_of_services_are_answered_and_others_are_asked_for(town: Town) -> None:
    hosts = (
        "db-one.example.com",
        "db-two.internal",
        "web.shop.svc.cluster.local",
        "web",
    )
    found = run(town, "client", "ask", *hosts)
    for host in hosts[:2]:
        (address, mapped) = found[host]
        assert address.startswith("240.240.") and mapped == f"::ffff:{address}"
    assert found[hosts[0]] != found[hosts[1]]
    assert "10.96.0.7" in found["web"] and "10.96.0.7" in found["web.shop.svc.cluster.local"]
    town.accepted()


def test_other_names_are_asked_of_the_resolver(town: Town) -> None:
    # A resolver may take its time, and a client give up meanwhile.
    known = {"public.example.org": ["203.0.113.11"], "nobody.example.org": "error -2"}
    town.becomes(known, lambda: run(town, "client", "ask", *known))
    town.accepted()


def test_who_names_a_service_reaches_it_though_they_share_a_port(town: Town) -> None:
    found = run(town, "client", "say", "7000", "db-one.example.com", "db-two.internal")
    assert found == {"db-one.example.com": "one hello", "db-two.internal": "two hello"}
    # Nobody claims the address of another: it is let through to where the resolver says that it is.
    other = {"public.example.org": "one hello"}
    town.becomes(other, lambda: run(town, "client", "say", "7000", *other))
    assert town.stat("client", r"^cluster\.outbound\|7000\|\|db-two\.internal.*\.upstream_cx_total$") == 1


def test_without_capture_such_a_name_leads_nowhere(town: Town) -> None:
    known = {"db-two.internal": "error -2", "db-one.example.com": ["203.0.113.11"]}
    town.becomes(known, lambda: run(town, "plain", "ask", *known))


def test_a_service_that_comes_is_answered_and_keeps_the_others_where_they_are(town: Town) -> None:
    before = run(town, "client", "ask", "db-one.example.com", "db-two.internal")
    town.apply(f"""{ENTRIES}---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: a-third, namespace: shop}}
spec:
  hosts: [a-third.internal]
  ports: [{{number: 7000, name: tcp, protocol: TCP}}]
  resolution: STATIC
  endpoints: [{{address: 203.0.113.12}}]
""")
    town.becomes(
        {"a-third.internal": "two hello"}, lambda: run(town, "client", "say", "7000", "a-third.internal")
    )
    assert run(town, "client", "ask", *before) == before
    town.accepted()
