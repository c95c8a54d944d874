"""The task pages at real Envoys: their objects as they stand, what they promise, and the commands that look.

client (machine-1) ──► stock: machine-1, -2, -3          near endpoints first
                  ├──► (egress) ──► news.example.com      out by one door
                  └──► two databases on one port          databases by name
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import yaml

from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from tests.support.envoys import MARKS, scenes
from tests.support.pages import documents_of
from tests.support.residents import ECHO, Resident, pem_file, web
from tests.support.servers import Issuer
from tests.support.snippets import blocks
from tests.support.town import Town

pytestmark = MARKS

TASKS = "docs/tasks/"
FAILOVER, EGRESS, DATABASES = (
    f"{TASKS}{name}.md" for name in ("locality-failover", "egress-gateway", "databases-by-name")
)
NAMES = "10.244.0.2"
OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: stock, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: stock}, ports: [{name: http, port: 80}]}
"""


def objects(page: str) -> str:
    """Those of a page, without the MeshConfig; machines outside live in another network here."""
    found = [one for one in documents_of(page) if one["kind"] != "MeshConfig"]
    return yaml.safe_dump_all(found).replace("192.168.7.", "203.0.113.")


def mesh(page: str) -> str:
    """The page's MeshConfig, as a file has it."""
    (found,) = (one for one in documents_of(page) if one["kind"] == "MeshConfig")
    return yaml.safe_dump({name: value for name, value in found.items() if name != "kind"})


def build(lab: Lab) -> Town:
    pem = pem_file(lab, "news", Issuer().issue("news.example.com"))
    asked = App(ECHO / "names.py", ("53", json.dumps({"news.example.com": ["203.0.113.10"]})))
    labels = {"istio": "egressgateway"}
    client = PodSpec(
        "client",
        "shop",
        "10.244.0.9",
        {"app": "client"},
        workload="client",
        metadata={"DNS_CAPTURE": "true"},
        nameservers=(NAMES,),
    )
    egress = PodSpec(
        "egress", "istio-system", "10.244.0.21", labels, "egress", kind="router", nameservers=(NAMES,)
    )
    stocks = (
        PodSpec(f"stock-{n}", "shop", f"10.244.{n}.1", {"app": "stock"}, app=web(f"stock-{n}", 80))
        for n in (1, 2, 3)
    )
    databases = (
        PodSpec(name, "outside", f"203.0.113.{n}", app=App(ECHO / "tcp.py", (name, "5432"), opens=5432))
        for n, name in ((31, "orders"), (32, "stock"))
    )
    news = PodSpec("news", "outside", "203.0.113.10", app=web("news", 443, pem=pem))
    residents = [
        Resident(PodSpec("names", "kube-system", NAMES, app=asked), meshed=False),
        Resident(client, node="machine-1"),
        *(Resident(one, False, f"machine-{one.name[-1]}") for one in stocks),
        Resident(egress),
        *(Resident(one, False, "") for one in (*databases, news)),
    ]
    return Town(lab, residents, OBJECTS)


town = scenes(build)


def typed(town: Town, who: str, command: str) -> list[str]:
    """What a command prints in somebody's network."""
    inside = ["nsenter", f"--net=/run/netns/{town.lab.pods[who].netns}", "bash", "-c", command]
    return subprocess.run(inside, capture_output=True, text=True, timeout=20).stdout.splitlines()


def commands(page: str) -> list[tuple[str, list[str]]]:
    """What the page has its reader type, without comments, and what it shows for that."""
    (text,) = blocks(page, "console")
    shown: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            shown.append((re.sub(r"\s{2,}#.*", "", line[2:]), []))
        else:
            shown[-1][1].append(line)
    return shown


def resolved(town: Town, *args: str) -> Any:
    """What the client's C library says of names (tests/support/resolve.py)."""
    found = App(ECHO.parents[3] / "tests" / "support" / "resolve.py", args)
    out, _ = town.lab.run_in(town.lab.pods["client"], found).communicate(timeout=60)
    return json.loads(out)


def test_near_endpoints_come_first_and_others_when_a_zone_dies(town: Town) -> None:
    # As on the page, but for the time that is waited.
    quick = objects(FAILOVER)
    for said, meant in (
        ("connectTimeout: 1s", "connectTimeout: 0.3s"),
        ("consecutive5xxErrors: 3", "consecutive5xxErrors: 1"),
        ("interval: 5s", "interval: 1s"),
        ("baseEjectionTime: 30s", "baseEjectionTime: 3s"),
        ("perTryTimeout: 2s", "perTryTimeout: 0.5s"),
    ):
        assert quick.count(said) == 1
        quick = quick.replace(said, meant)
    town.apply(quick)
    ((look, (*shown, rest)),) = commands(FAILOVER)
    assert rest == "…" and len(shown) == 6
    town.becomes(True, lambda: set(shown) <= set(typed(town, "client", look)))
    assert town.servers(12, "client", "stock.shop") == {"stock-1": 12}
    with town.gone("stock-1"):
        town.becomes({"stock-2": 12}, lambda: town.servers(12, "client", "stock.shop"))
        with town.gone("stock-2"):
            town.becomes({"stock-3": 12}, lambda: town.servers(12, "client", "stock.shop"))
    town.becomes({"stock-1": 12}, lambda: town.servers(12, "client", "stock.shop"))
    town.accepted()


def test_what_leaves_leaves_by_the_gateway(town: Town) -> None:
    town.mesh(mesh(EGRESS))
    town.apply(objects(EGRESS))
    (call, status), (look, by_the_client), (again, by_the_gateway) = commands(EGRESS)
    # The server's certificate is an authority's that this machine does not know.
    call = call.replace("curl -s ", "curl -sk --resolve news.example.com:443:203.0.113.10 ")
    town.becomes(status, lambda: typed(town, "client", call))

    def counted(who: str, command: str) -> list[str]:
        return [re.sub(r"\d+$", "1", line) for line in typed(town, who, command)]

    assert counted("client", look) == by_the_client
    assert counted("egress", again) == by_the_gateway
    other = call.replace("news.example.com", "other.example.com")
    town.becomes(["000"], lambda: typed(town, "client", other))
    with town.gone("egress"):
        assert typed(town, "client", call.replace("-sk", "-sk --max-time 5")) == ["000"]
    town.mesh("")
    town.accepted()


def test_databases_are_told_apart_by_name(town: Town) -> None:
    town.apply(objects(DATABASES))
    *_, (look, shown) = commands(DATABASES)
    town.becomes(sorted(shown), lambda: sorted(typed(town, "client", look)))
    names = ("orders.db.internal", "stock.db.internal")
    found = resolved(town, "ask", *names)
    asked = [(command.split()[2], line.split()[0]) for command, (line,) in commands(DATABASES)[:2]]
    assert [(name, next(one for one in found[name] if ":" not in one)) for name in names] == asked
    assert resolved(town, "say", "5432", *names) == {
        "orders.db.internal": "orders hello",
        "stock.db.internal": "stock hello",
    }
    town.accepted()
