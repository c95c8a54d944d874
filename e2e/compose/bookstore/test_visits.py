"""The bookstore as a visitor sees it, and as somebody outside the mesh does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from controlplane.lab.programs import ProgramFailed, run
from controlplane.lab.steps import bounds
from e2e.compose.edits import route_reviews
from e2e.compose.load import Answer, Load, ask, hop, versions
from e2e.compose.project import IMAGE, Project, wait_until
from e2e.compose.stages import FACTS, stage

IDENTITY = "spiffe://cluster.local/ns/default/sa"


def test_the_page_answers_over_the_published_port(bookstore: Project, ingress_port: int) -> None:
    answer = ask(ingress_port)
    assert answer.error == ""
    assert {part["name"] for part in answer.page["hops"]} == {"details", "reviews"}


def test_every_hop_knows_its_caller_by_certificate(bookstore: Project, ingress_port: int) -> None:
    answer = ask(ingress_port)
    assert answer.page["caller"] == f"{IDENTITY}/ingressgateway"
    assert [part["caller"] for part in answer.page["hops"]] == [f"{IDENTITY}/productpage"] * 2


def test_reviews_are_split_as_a_file_in_mesh_says(
    bookstore: Project, ingress_port: int, checkout: Path
) -> None:
    rules = checkout / "mesh"
    with stage("canary: all to v1, and 200 answers by it") as remarks, Load(ingress_port, pause=0.0) as load:
        route_reviews(rules, {"v1": 100})
        edited = time.monotonic()
        # That nine in ten go to v1 does not make as many in a row.
        wait_until(lambda: len(load.answers) >= 200 and _only_v1(load.answers[-200:]), 20, load.said)
        others = [answer.second - edited for answer in load.answers if not _only_v1([answer])]
        remarks.append(f"the last other {1000 * max(others, default=0.0):.0f} ms after the edit")
    assert load.failed == []

    route_reviews(rules, {"v1": 90, "v2": 10})
    with stage("canary: 90/10") as remarks:
        wait_until(lambda: hop(ask(ingress_port), "reviews").get("version") == "v2", 20, lambda: "no v2")
        with Load(ingress_port, workers=8, pause=0.0) as load:
            wait_until(lambda: len(load.answers) >= 1000, 60, load.said)
        counted = versions(load.answers)
        remarks.append(f"{dict(sorted(counted.items()))} of {len(load.answers)}")
    assert load.failed == []
    low, high = bounds(len(load.answers), 0.1)
    assert low <= counted["v2"] <= high
    assert counted["v1"] + counted["v2"] == len(load.answers), "v3 has no weight"


def _only_v1(answers: list[Answer]) -> bool:
    return set(versions(answers)) == {"v1"}


# What a container does that has a network with the services, but no sidecar and no certificate.
_PLAIN = """
import http.client, socket, ssl, sys
service = sys.argv[1]
socket.create_connection((service, 9080), timeout=10).close()
print("connected")
try:
    connection = http.client.HTTPConnection(service, 9080, timeout=10)
    connection.request("GET", "/")
    print("answered", connection.getresponse().status)
except (OSError, http.client.HTTPException) as error:
    print("refused", type(error).__name__)
trusting = ssl.create_default_context()
trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
try:
    with trusting.wrap_socket(socket.create_connection((service, 9080), timeout=10)) as secured:
        secured.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        print("answered", secured.recv(100))
except OSError as error:
    print("refused", type(error).__name__)
"""


@pytest.mark.parametrize("service", ["productpage", "reviews", "ratings"])
def test_a_container_outside_the_mesh_is_refused(bookstore: Project, service: str) -> None:
    network = f"{bookstore.name}_default"
    command = ("docker", "run", "--rm", "--network", network, "--entrypoint", "python3", IMAGE)
    said = run(*command, "-c", _PLAIN, service).splitlines()
    # In plain text, and with TLS but without a certificate.
    assert said[0] == "connected", said
    assert [line.split()[0] for line in said[1:]] == ["refused", "refused"], said


def test_a_container_of_the_mesh_is_let_in(bookstore: Project) -> None:
    program = "import urllib.request as r; print(r.urlopen('http://ratings:9080/', timeout=10).status)"
    assert bookstore.run_in("productpage", "python3", "-c", program).strip() == "200"


def test_no_container_of_the_mesh_has_the_docker_socket_but_the_filter(bookstore: Project) -> None:
    holders = [
        container["Config"]["Labels"]["com.docker.compose.service"]
        for container in bookstore.inspect()
        if any(mount["Destination"] == "/var/run/docker.sock" for mount in container["Mounts"])
    ]
    assert holders == ["mini-istiod-docker"]


def test_nobody_reads_the_token_of_another(bookstore: Project) -> None:
    for container in bookstore.inspect():
        labels = container["Config"]["Labels"]
        if proxy := labels.get("mini-istiod.proxy"):
            tokens = [mount for mount in container["Mounts"] if mount["Destination"] == "/etc/mini-istiod"]
            assert [mount["Name"] for mount in tokens] == [f"{bookstore.name}_{proxy}-proxy"]
            assert not tokens[0]["RW"]
    # The application beside a sidecar sees none at all.
    with pytest.raises(ProgramFailed, match="No such file"):
        bookstore.run_in("productpage", "ls", "/etc/mini-istiod")


def test_sizes(bookstore: Project) -> None:
    names = {c["Id"]: c["Config"]["Labels"]["com.docker.compose.service"] for c in bookstore.inspect()}
    format = "{{.ID}} {{.MemUsage}}"
    said = run("docker", "stats", "--no-stream", "--no-trunc", "--format", format, timeout=60)
    used = {names[id]: usage for id, usage, *_ in map(str.split, said.splitlines()) if id in names}
    shown = {
        name: usage
        for name, usage in sorted(used.items())
        if name.endswith("envoy") or name[:4] in ("mini", "ingr")
    }
    FACTS.extend(f"memory of {name}: {usage}" for name, usage in shown.items())
    assert all(_mebibytes(usage) < 100 for name, usage in shown.items() if name != "mini-istiod"), shown
    assert _mebibytes(shown["mini-istiod"]) < 200


def _mebibytes(usage: str) -> float:
    units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
    return float(usage[:-3]) * units[usage[-3:]]
