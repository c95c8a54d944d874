"""Compose files that nobody writes by accident: one line says what is wrong, and no wrong file is written."""

from __future__ import annotations

import warnings

import pytest
from test_compose_cases import load, mesh

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import project

ONE = "services:\n  web:\n    image: x\n    ports: ['80:80']\n"
LAUGHS = "x-a: &a [{}]\n".format(",".join("x" * 10)) + "".join(
    f"x-{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "".join(f"  s{number}: {{extends: s{number + 1}}}\n" for number in range(2000))
FORM = "a form that cannot be meshed and restored"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(f"{LAUGHS}services:\n  web:\n    image: x\n    x-y: *i\n", "written out", id="laughs"),
        pytest.param("x-d: " + "[" * 600 + "]" * 600 + f"\n{ONE}", "nested too deeply", id="deep"),
        pytest.param("services:\n  a: &a\n    image: x\n    <<: *a\n", "contains itself", id="itself"),
        pytest.param(f"x-s: &s {{a: {{image: x}}}}\n{ONE}  <<: *s\n", "services: write out", id="merged"),
        pytest.param(f"services:\n{CHAIN}  s2000: {{image: x}}\n", "in a row", id="extends"),
        pytest.param("services:\n  ? web\n  : image: x\n    ports: ['80:80']\n", FORM, id="complex key"),
        pytest.param("services:\n  ? [a, b]\n  : image: x\n  web: {image: x}\n", FORM, id="list as a key"),
        pytest.param(ONE.replace("ports", '"p\\x6frts"'), FORM, id="escape"),
        pytest.param(ONE.replace("\n", "\r"), FORM, id="carriage returns"),
    ],
)
def test_it_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(MiniIstiodError, match=reason) as caught:
        mesh("compose.yml", text)
    assert "\n" not in str(caught.value)


def test_an_anchor_that_is_written_twice_is_not_warned_of() -> None:
    text = "x-a: &a {image: x}\nx-b: &a {image: y}\nservices:\n  web:\n    <<: *a\n    ports: ['1:1']\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _ = mesh("compose.yml", text)
        assert project.plain(found, "compose.yml") == text


@pytest.mark.parametrize("none", ["scale: 0", "deploy: {replicas: 0}"])
def test_a_service_of_which_nothing_runs_gets_no_sidecar(none: str) -> None:
    text = f"{ONE}  idle:\n    image: y\n    {none}\n"
    found, notes = mesh("compose.yml", text)
    services = load(found)["services"]
    assert "idle-envoy" not in services and "network_mode" not in services["idle"]
    assert [one for one in notes if one.startswith("services.idle.scale: nothing of it runs")]
    assert "idle-envoy" in load(mesh("compose.yml", text, scale={"idle": 1})[0])["services"]
