"""What becomes of the keys of a service, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from test_compose_cases import FILES, load, mesh

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import project

ENVOY = {"condition": "service_healthy"}
DONE = {"condition": "service_completed_successfully"}


def meshed(text: str, **flags: Any) -> dict[str, Any]:
    """The services of a file, meshed."""
    found: dict[str, Any] = load(mesh("flow.yml", text, **flags)[0])["services"]
    return found


def notes(text: str, **flags: Any) -> list[str]:
    return mesh("flow.yml", text, **flags)[1]


def one(body: str) -> str:
    """A file with one service."""
    return "services:\n  web:\n    image: example/web\n" + "".join(
        f"    {line}\n" for line in body.splitlines()
    )


def test_a_service_becomes_three() -> None:
    found = meshed(one("ports: ['8080:80']"))
    digest = found["web"]["x-mini-istiod"]["sidecar"]
    assert found["web"] == {
        "x-mini-istiod": {"sidecar": digest, "adds": ["network_mode", "depends_on"]},
        "network_mode": "service:web-envoy",
        "depends_on": {"web-envoy": ENVOY, "web-init": DONE},
        "image": "example/web",
        "x-mini-istiod-ports": ["8080:80"],
    }
    init = found["web-init"]
    assert (init["image"], init["command"], init["network_mode"]) == (
        "mini-istiod",
        ["iptables"],
        "service:web-envoy",
    )
    assert (init["cap_drop"], init["cap_add"], init["user"]) == (["ALL"], ["NET_ADMIN", "NET_RAW"], "0:0")
    assert init["depends_on"] == ["web-envoy"]
    envoy = found["web-envoy"]
    assert (envoy["image"], envoy["user"], envoy["read_only"]) == (
        "envoyproxy/envoy:v1.40.0",
        "1337:1337",
        True,
    )
    assert envoy["networks"] == {"default": {"aliases": ["web"]}}
    assert envoy["ports"] == ["8080:80"]
    assert envoy["depends_on"] == {"mini-istiod": ENVOY, "mini-istiod-provision": DONE}
    assert "restart" not in envoy, "a sidecar that comes back has another network than its service"


def test_what_belongs_to_the_owner_of_the_network_moves_to_it() -> None:
    found = load(mesh("hosts.yml")[0])["services"]
    envoy = found["edge_proxy-envoy"]
    before = found["edge_proxy"]
    for key in (
        "hostname",
        "domainname",
        "mac_address",
        "dns",
        "dns_search",
        "dns_opt",
        "extra_hosts",
        "expose",
        "ports",
    ):
        assert envoy[key] == before[f"x-mini-istiod-{key}"]
        assert key not in before
    assert envoy["networks"]["default"]["aliases"] == ["edge_proxy", "edge"], (
        "containers are found by their name"
    )
    assert before["container_name"] == "edge"
    assert envoy["sysctls"] == {"net.core.somaxconn": 1024}
    assert before["sysctls"] == {"kernel.msgmax": 65536}
    assert found["order_api-envoy"]["sysctls"] == ["net.ipv4.tcp_syncookies=0"]
    assert "sysctls" not in found["order_api"] or not found["order_api"]["sysctls"]
    assert (before["cap_add"], before["ulimits"]) == (["NET_BIND_SERVICE"], {"nofile": 4096})


def test_links_become_aliases_where_they_can_and_are_waited_for() -> None:
    found = load(mesh("hosts.yml")[0])["services"]
    assert "links" not in found["edge_proxy-envoy"]
    assert found["plain"]["networks"] == {"default": {"aliases": ["database"]}}
    assert found["edge_proxy-envoy"]["external_links"] == ["elsewhere:other"]
    started = {"condition": "service_started"}
    assert found["edge_proxy"]["depends_on"] == {
        "edge_proxy-envoy": ENVOY, "edge_proxy-init": DONE, "order_api": started, "plain": started,
    }  # fmt: skip
    # It has no sidecar, but what it links to has.
    assert "links" not in found["plain"]
    assert found["plain"]["depends_on"] == {"order_api": started}


def test_a_name_that_a_link_has_for_a_service_is_an_alias() -> None:
    text = """services:
  a: {image: a, links: ["c:data", "d"], networks: [x]}
  b: {image: b, links: ["c:data", "d:other", "d:c"], networks: [x]}
  c: {image: c, networks: {x: {aliases: [see]}}}
  d: {image: d}
  e: {image: e, links: ["d:other"], labels: {mini-istiod.inject: "false"}}
  f: {image: f, links: ["g:gee"], labels: {mini-istiod.inject: "false"}}
  g: {image: g, labels: {mini-istiod.inject: "false"}}
"""
    found = meshed(text)
    assert found["c-envoy"]["networks"] == {"x": {"aliases": ["c", "see", "data"]}}
    assert found["d-envoy"]["networks"] == {"default": {"aliases": ["d", "other"]}}
    assert "links" not in found["a-envoy"] and "links" not in found["e"]
    # Another service has that name.
    assert found["b-envoy"]["links"] == ["d-envoy:c"]
    assert [note.partition(" has other")[0] for note in notes(text)] == ["services.b.links: 'c'"]
    # Nothing of these is in the mesh.
    assert found["f"] == {"image": "f", "links": ["g:gee"], "labels": {"mini-istiod.inject": "false"}}


def test_a_service_changes_with_its_sidecar_so_that_compose_recreates_both() -> None:
    def digests(**flags: Any) -> dict[str, str]:
        found = load(mesh("versions.yml", **flags)[0])["services"]
        return {
            name: service["x-mini-istiod"]["sidecar"]
            for name, service in found.items()
            if "x-mini-istiod" in service
        }

    before = digests()
    assert before.keys() == {"page", "reviews-v1", "reviews-v2"}
    assert len(set(before.values())) == 3
    more = digests(scale={"reviews-v2": 2})
    assert before.items() <= more.items() and len(set(more.values())) == 4
    other = digests(envoy_image="other")
    assert all(before[name] != other[name] for name in before)


def test_who_shared_a_network_shares_that_of_the_sidecar() -> None:
    found = load(mesh("hosts.yml")[0])["services"]
    assert found["beside"]["network_mode"] == "service:order_api-envoy"
    assert found["beside"]["depends_on"]["order_api-init"] == DONE
    assert found["monitor"]["network_mode"] == "host"
    assert "monitor-envoy" not in found


def test_names_with_underscores_are_called_as_the_control_plane_calls_them() -> None:
    found = load(mesh("hosts.yml")[0])["services"]
    assert found["order_api-envoy"]["labels"] == {"mini-istiod.proxy": "order-api"}
    assert "--proxy=order-api=default/order-api,app=order-api" in found["mini-istiod-provision"]["command"]
    assert "order_api-proxy:/proxies/order-api" in found["mini-istiod-provision"]["volumes"]


def test_what_does_not_work_as_before_is_told() -> None:
    told = mesh("hosts.yml")[1]
    starts = (
        "services.beside.network_mode: service:order_api",
        "services.monitor.network_mode: host",
        "services.batch.network_mode: none",
        "services.order_api.user: 1337 is Envoy's user",
    )
    assert len(told) == len(starts)
    for line, start in zip(told, starts, strict=True):
        assert line.startswith(start)


def test_a_number_that_is_not_known_here_is_told() -> None:
    _, notes = mesh("flow.yml", one("scale: ${N}"))
    assert notes == ["services.web.scale: ${N} counts as 1 here; --scale web=N says how many pairs"]


def test_a_job_keeps_its_end_and_others_wait_for_it() -> None:
    found = load(mesh("health.yaml")[0])["services"]
    assert found["migrate"]["restart"] == "no"
    assert found["app"]["depends_on"] == {"app-envoy": ENVOY, "app-init": DONE, "migrate": DONE, "db": ENVOY}
    assert found["db"]["healthcheck"]["test"][0] == "CMD-SHELL"
    assert found["db-envoy"]["networks"] == {"private": {"aliases": ["db"], "ipv4_address": "172.28.0.10"}}
    assert found["db"]["secrets"] == ["db"] and "secrets" not in found["db-envoy"]
    assert found["mini-istiod"]["networks"] == ["private", "public"]


def test_profiles_go_with_the_sidecar_and_the_mesh_has_all_of_them() -> None:
    found = load(mesh("profiles.yml", gateway=True)[0])["services"]
    assert found["shop-envoy"]["profiles"] == found["shop-init"]["profiles"] == ["shop"]
    for name in ("mini-istiod", "mini-istiod-provision", "mini-istiod-docker", "ingressgateway"):
        assert found[name]["profiles"] == ["shop", "test"]


def test_the_mesh_is_always_there_when_one_of_its_services_is() -> None:
    found = meshed("services: {a: {image: a, profiles: [x]}, b: {image: b}}")
    assert "profiles" not in found["mini-istiod"]
    assert found["a-init"]["profiles"] == ["x"]


def test_scale_and_replicas_become_pairs() -> None:
    found = load(mesh("profiles.yml")[0])["services"]
    assert {"shop", "shop-2", "stock", "stock-2", "stock-3"} <= found.keys()
    assert not {"shop-3", "stock-4", "stock-1"} & found.keys()
    assert (
        found["shop"]["deploy"] == found["shop-2"]["deploy"] == {"resources": {"limits": {"memory": "64M"}}}
    )
    assert "scale" not in found["stock-2"]
    assert found["stock-2-envoy"]["networks"] == {"default": {"aliases": ["stock"]}}
    assert found["stock-3"]["depends_on"]["stock-3-envoy"] == ENVOY
    # One host has each of these ports once.
    assert "ports" not in found["shop-2-envoy"]
    assert found["shop-2-envoy"]["expose"] == ["8080", "9000-9001/udp"]


def test_a_pair_is_the_same_service_version_and_account() -> None:
    found = load(mesh("versions.yml", scale={"reviews-v2": 3})[0])["services"]
    third = found["reviews-v2-3"]
    assert third["labels"] == {
        "mini-istiod.account": "reviews", "mini-istiod.version": "v2", "track": "canary",
    }  # fmt: skip
    assert third["container_name"] == "reviews-two-3"
    envoy = found["reviews-v2-3-envoy"]
    assert envoy["hostname"] == "two-3"
    assert envoy["networks"]["default"]["aliases"][0] == "reviews-v2"
    assert "reviews" in envoy["networks"]["default"]["aliases"]
    assert envoy["ports"] == ["9080", "9100-9110:9081"]
    assert "mac_address" not in envoy
    command = found["mini-istiod-provision"]["command"]
    assert "--proxy=reviews-v2-3=default/reviews,app=reviews,version=v2" in command


def test_scaling_changes_nothing_of_what_runs() -> None:
    before = load(mesh("versions.yml")[0])["services"]
    after = load(mesh("versions.yml", scale={"reviews-v2": 2})[0])["services"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"mini-istiod-provision"}
    assert after.keys() - before.keys() == {"reviews-v2-2", "reviews-v2-2-envoy", "reviews-v2-2-init"}


def test_scale_is_kept_in_the_file_and_one_takes_it_back() -> None:
    single, _ = mesh("versions.yml")
    triple, _ = mesh("versions.yml", single, scale={"reviews-v2": 3})
    assert mesh("versions.yml", triple)[0] == triple
    again, _ = mesh("versions.yml", triple, scale={"reviews-v2": 1})
    assert load(again)["services"] == load(single)["services"]
    assert project.plain(triple, "x") == project.plain(again, "x") == project.plain(single, "x")


def test_what_extends_is_written_out() -> None:
    found = load(mesh("extends.yml")[0])["services"]
    first, second, outside = (found[name] for name in ("first", "second", "outside"))
    assert first["environment"] == {"A": "1", "B": "3", "C": "4"}
    assert found["first-envoy"]["ports"] == ["8000:8000", "8001:8000"]
    assert first["x-mini-istiod-extends"] == "base"
    assert first["depends_on"]["store"] == {"condition": "service_started"}
    assert second["labels"] == {"tier": "second"}
    assert set(found["second-envoy"]["networks"]) == {"default", "extra"}
    # Paths of a file in another folder begin there.
    assert outside["build"] == "./common/web"
    assert outside["env_file"] == ["./common/web.env"]
    assert outside["volumes"] == [
        "./common/data:/data:ro",
        "cache:/cache",
        "/etc/localtime:/etc/localtime:ro",
    ]
    assert outside["environment"] == {"NAME": "outside", "LEVEL": "info"}
    assert found["outside-envoy"]["ports"] == ["9000"]


def test_an_anchor_that_others_use_does_not_bring_back_what_moved() -> None:
    out, _ = mesh("anchors.yml")
    found = load(out)["services"]
    assert found["admin"]["command"] == ["serve", "--admin"]
    assert found["admin"]["environment"] == {"MODE": "admin", "DEBUG": "no", "WHEN": 18}
    assert found["twin"]["network_mode"] == "service:twin-envoy"
    assert found["api-envoy"]["ports"] == ["80"]
    # Who is not in the mesh still has what the anchor says.
    assert found["cache"]["ports"] == ["80"]
    assert "  # what everybody publishes" in out


def test_a_service_that_changed_is_meshed_anew() -> None:
    out, _ = mesh("flow.yml", one("ports: ['8080:80']\nenvironment: {A: b}"))
    changed = out.replace("{A: b}", "{A: c}").replace(
        "x-mini-istiod-ports: ['8080:80']", "x-mini-istiod-ports: ['8081:80']"
    )
    again = load(mesh("flow.yml", changed)[0])["services"]
    assert again["web"]["environment"] == {"A": "c"}
    assert again["web-envoy"]["ports"] == ["8081:80"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("SIGUSR1", "SIGTERM", True),
        ("mini-istiod.proxy: web", "mini-istiod.proxy: site", True),
        ("web-envoy: {condition: service_healthy}", "web-envoy: {condition: service_started}", True),
        ("image: example/web", "image: example/web:2", False),
        ("x-mini-istiod-ports: ['8080:80']", "x-mini-istiod-ports: ['8081:80']", False),
        ("    image: example/web\n", "    image: example/web\n  more:\n    image: example/more\n", False),
    ],
)
def test_what_was_changed_by_hand_is_not_lost_without_a_word(before: str, after: str, told: bool) -> None:
    out, _ = mesh("flow.yml", one("ports: ['8080:80']"))
    assert out.count(before) == 1
    again, remarks = mesh("flow.yml", out.replace(before, after))
    assert (again == out) == told
    assert [line.partition(",")[0] for line in remarks] == [
        "what this command writes was changed by hand"
    ] * told


@pytest.mark.parametrize("name", FILES)
def test_what_nobody_changed_is_not_said_to_be(name: str) -> None:
    out, told = mesh(name)
    assert mesh(name, out)[1] == told


def test_a_service_that_is_added_to_a_meshed_file_gets_a_sidecar() -> None:
    out, _ = mesh("flow.yml", one("ports: ['8080:80']"))
    more = out.replace("\n  web-envoy:", "\n  # New.\n  api:\n    image: example/api\n\n  web-envoy:")
    again, _ = mesh("flow.yml", more)
    assert load(again)["services"]["api"]["network_mode"] == "service:api-envoy"
    assert (
        project.plain(again, "x")
        == one("ports: ['8080:80']") + "\n  # New.\n  api:\n    image: example/api\n"
    )


def test_flags_choose_services() -> None:
    text = "services: {a: {image: a}, b: {image: b}, c: {image: c}}"
    assert {"a-envoy", "c-envoy"} == {one for one in meshed(text, exclude=("b",)) if one.endswith("-envoy")}
    assert {"b-envoy"} == {one for one in meshed(text, only=("b",)) if one.endswith("-envoy")}
    out, _ = mesh("flow.yml", text, exclude=("b",))
    assert mesh("flow.yml", out)[0] == out
    assert "b-envoy" in load(mesh("flow.yml", out, exclude=())[0])["services"]


def test_images_and_folder_are_the_users() -> None:
    found = meshed(one(""), image="reg/istiod:1", envoy_image="reg/envoy:2", mesh_dir="../istio")
    assert {found[name]["image"] for name in ("mini-istiod", "mini-istiod-docker", "web-init")} == {
        "reg/istiod:1"
    }
    assert found["web-envoy"]["image"] == "reg/envoy:2"
    assert found["mini-istiod"]["volumes"][0] == "../istio:/mesh:ro"


def test_the_gateway_is_reached_from_this_machine_alone() -> None:
    found = meshed(one(""), gateway=True)
    gateway = found["ingressgateway"]
    assert gateway["ports"] == ["127.0.0.1:${INGRESS_PORT:-8080}:80"]
    assert gateway["labels"] == {"mini-istiod.proxy": "ingressgateway", "istio": "ingressgateway"}
    assert "ingressgateway" not in meshed(one(""))


def test_istios_exceptions_are_flags_of_the_init_container() -> None:
    label = "traffic.sidecar.istio.io"
    found = meshed(
        one(f"labels:\n  {label}/excludeOutboundPorts: '5432,3306'\n  {label}/excludeInboundPorts: 9100")
    )
    assert found["web-init"]["command"] == ["iptables", "-d", "9100", "-o", "5432,3306"]


def test_more_envoys_than_linux_allows_by_default_are_told() -> None:
    assert notes(one(""), scale={"web": 30}) == []
    (note,) = notes(one(""), scale={"web": 31})
    assert note.startswith("31 Envoys") and "fs.inotify.max_user_instances" in note


def test_variables_stay_variables() -> None:
    out, _ = mesh("flow.yml", one("environment: ['A=${B:-x y}']\nports: ['${P:-80}:80']\nhostname: $HOST"))
    envoy = load(out)["services"]["web-envoy"]
    assert (envoy["ports"], envoy["hostname"]) == (["${P:-80}:80"], "$HOST")
    assert "environment: ['A=${B:-x y}']" in out


@pytest.mark.parametrize("end", ["\r\n", "\n", ""])
@pytest.mark.parametrize("start", ["\ufeff", "", "---\n"])
def test_lines_end_as_they_did(start: str, end: str) -> None:
    text = start + one("ports: ['8080:80']").rstrip("\n")
    text = text.replace("\n", end or "\n") + end
    out, _ = mesh("flow.yml", text)
    assert ("\r" in out) == (end == "\r\n")
    if end == "\r\n":
        assert "\n" not in out.replace("\r\n", "")
    assert out.startswith(start.strip()) and out.endswith(end) and not out.endswith(end + end + "\n")
    assert mesh("flow.yml", out)[0] == out
    assert project.plain(out, "x") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web:\n  image: a\n", "there are no 'services'"),
        ("- a\n", "it is no Compose file"),
        ("services:\n  web: [a]\n", "services.web: a mapping is wanted"),
        ("services:\n  web: [a\nb: c\n", "x.yml:3: "),
        ("services:\n  web: {image: a, extends: b}\n", "services.web.extends: there is no service 'b'"),
        ("services:\n  web: {extends: web}\n", "services.web.extends: it extends itself"),
        ("services:\n  mini-istiod: {image: a}\n", "services.mini-istiod: the mesh needs the name"),
        ("services:\n  a: {image: a}\n  a-envoy: {image: a}\n", "services.a-envoy: the mesh needs the name"),
        ("services:\n  a_b: {image: a}\n  a-b: {image: a}\n", "services.a-b: its proxy and that of a_b"),
        ("services:\n  a: {image: a}\nvolumes: {a-proxy: {}}\n", "volumes.a-proxy: the mesh needs the name"),
        ("services:\n  a: {network_mode: host}\n", "no service is left to mesh"),
        ("services: &s\n  a: &a {b: *s}\n", "alias that contains itself"),
        ("services:\n  a: {image: a}\n---\nb: c\n", "x.yml:"),
    ],
)
def test_what_cannot_be_meshed_is_said(text: str, message: str) -> None:
    with pytest.raises(MiniIstiodError) as caught:
        project.meshed(text, "x.yml", {}, lambda path: {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"only": ("b",)}, "--only: there is no service 'b'"),
        ({"exclude": ("b",)}, "--exclude: there is no service 'b'"),
        ({"scale": {"b": 2}}, "--scale: there is no service 'b'"),
        (
            {"scale": {"a": 2}, "exclude": ("a",)},
            "--scale: a gets no sidecar here; use `docker-compose up --scale`",
        ),
    ],
)
def test_flags_that_name_nobody_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(MiniIstiodError) as caught:
        project.meshed("services: {a: {image: a}, c: {image: c}}", "x.yml", flags, lambda path: {})
    assert message in str(caught.value)


def test_copies_of_who_shares_a_network_would_be_without_a_sidecar() -> None:
    text = "services: {a: {image: a}, b: {image: b, network_mode: 'service:a'}}"
    with pytest.raises(
        MiniIstiodError, match=r"--scale: b gets no sidecar here \(network_mode: service:a: .*; scale"
    ):
        project.meshed(text, "x.yml", {"scale": {"b": 2}}, lambda path: {})


@pytest.mark.parametrize("name", ["web", "web-envoy"])
def test_a_sidecar_written_by_hand_is_scaled_in_the_file_without_it(name: str) -> None:
    text = (
        "services: {db: {image: a}, web: {image: a, network_mode: 'service:web-envoy'}, "
        "web-envoy: {image: b, labels: {mini-istiod.proxy: web}}}"
    )
    with pytest.raises(MiniIstiodError, match="written by hand: mesh the file without sidecars") as caught:
        project.meshed(text, "x.yml", {"scale": {name: 2}}, lambda path: {})
    assert "up --scale" not in str(caught.value)


def test_a_plain_file_has_nothing_to_remove() -> None:
    with pytest.raises(MiniIstiodError, match="was not written by"):
        project.plain(one(""), "x.yml")


def test_a_key_beside_the_one_that_moved_is_refused() -> None:
    out, _ = mesh("flow.yml", one("ports: ['8080:80']"))
    twice = out.replace("    x-mini-istiod-ports", "    ports: ['1:1']\n    x-mini-istiod-ports")
    with pytest.raises(MiniIstiodError, match=r"services\.web\.ports: stands beside x-mini-istiod-ports"):
        mesh("flow.yml", twice)
