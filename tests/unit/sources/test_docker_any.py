"""Whatever containers are like: no exception, valid objects, names that differ, and no order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.kinds import BY_NAME
from controlplane.model.problem import Problem
from controlplane.sources.docker.container import Container, read
from controlplane.sources.docker.objects import Place, describe
from controlplane.sources.naming import name_of

NAMES = st.sampled_from(
    ["web", "Web", "web_1", "my_web", "web-v2", "a.b", "x" * 70, "-", "web.default.svc", "1.2.3.4"]
)
VALUES = st.sampled_from(
    ["", "web", "web,api", "80", "80:81/http", "x y", "true", "http", "v2", "80,80", "999999"]
)
LABELS = st.dictionaries(
    st.sampled_from(
        [
            "com.docker.compose.service",
            "com.docker.compose.project",
            "com.docker.compose.oneoff",
            *(
                f"mini-istiod.{name}"
                for name in ("service", "ports", "version", "account", "protocol", "proxy", "port")
            ),
            "app",
            "bad label",
        ]
    ),
    VALUES | NAMES,
    max_size=5,
)
PORTS = st.dictionaries(st.sampled_from(["80/tcp", "81", "53/udp", "0/tcp", "x"]), st.just({}), max_size=3)
ATTACHMENTS = st.fixed_dictionaries(
    {
        "IPAddress": st.sampled_from(["", "172.18.0.2", "172.18.0.3", "not an address"]),
        "GlobalIPv6Address": st.sampled_from(["", "fd00::2"]),
        "Aliases": st.none() | st.lists(NAMES, max_size=3),
    }
)
IDS = st.sampled_from([letter * 64 for letter in "abc"])


def inspected(id: str) -> st.SearchStrategy[dict[str, Any]]:
    state = st.sampled_from(
        ["created", "running", "paused", "restarting", "removing", "exited", "dead", "new"]
    )
    modes = st.sampled_from(["default", "host", "none", "shop"]) | IDS.map(lambda other: f"container:{other}")
    return st.fixed_dictionaries(
        {
            "Id": st.just(id),
            "Name": NAMES.map(lambda name: f"/{name}"),
            "State": st.fixed_dictionaries(
                {"Status": state, "Health": st.sampled_from([None, {"Status": "unhealthy"}])}
            ),
            "Config": st.fixed_dictionaries({"Labels": LABELS, "ExposedPorts": PORTS}),
            "HostConfig": st.fixed_dictionaries({"NetworkMode": modes, "PortBindings": PORTS}),
            "NetworkSettings": st.fixed_dictionaries(
                {"Networks": st.dictionaries(st.sampled_from(["shop", "other"]), ATTACHMENTS, max_size=2)}
            ),
        }
    )


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(
    st.tuples(*(inspected(letter * 64) for letter in "abc")),
    st.sampled_from([None, frozenset({"shop"}), frozenset[str]()]),
)
def test_any_containers(answers: tuple[dict[str, Any], ...], networks: frozenset[str] | None) -> None:
    containers = [one for one in map(read, answers) if isinstance(one, Container)]
    place = Place("default", networks)
    found = describe(containers, place)
    assert found == describe(containers[::-1], place)
    names = [name_of(raw) for raw in found.objects]
    assert len(names) == len(set(names))
    for raw in found.objects:
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None and not parsed.problems, (raw, parsed.problems)
    for one in found.problems:
        assert isinstance(one, Problem) and one.kind == "Container"
        assert one.name and one.file and one.field and one.message and one.remedy
