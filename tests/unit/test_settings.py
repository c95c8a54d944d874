"""Settings: where each value comes from, and what a wrong one says."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from controlplane.base import parse
from controlplane.base.errors import SettingsError
from controlplane.base.parse import Address
from controlplane.settings import (
    OPTIONS,
    Settings,
    add_arguments,
    from_args,
    ignored_variables,
    markdown,
)


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(tmp_path)


def read(config: str, *flags: str, cpus: int = 2, **environ: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_args(parser.parse_args(["--config-dir", config, *flags]), environ, cpus)


def test_the_defaults(config: str) -> None:
    # Istio's where Istio has them, but for admission and the size of requests.
    assert read(config) == Settings(
        config_dir=Path(config),
        mesh_config=None,
        grpc_addr=(Address("127.0.0.1", 15010),),
        secure_grpc_addr=(),
        mtls_grpc_addr=(),
        monitoring_addr=Address("127.0.0.1", 15014),
        data_dir=None,
        publish_root_cert=None,
        docker=None,
        docker_project=None,
        docker_namespace="default",
        compose_files=(),
        debounce_after=0.1,
        debounce_max=10.0,
        eds_debounce=True,
        debounce_adaptive=False,
        push_throttle=25,
        max_requests_per_second=1000.0,
        ack_deadline=1.0,
        max_connection_age=1800.0,
        max_request_bytes=64 * 2**20,
        on_demand_virtual_hosts=False,
        root_ca_dir=None,
        self_signed_ca_cert_ttl=87600 * 3600.0,
        default_workload_cert_ttl=86400.0,
        max_workload_cert_ttl=2160 * 3600.0,
        workload_key_type="ec",
        root_rotation_pause=120.0,
        tls_name=(),
        token_review="",
        token_audience="istio-ca",
        trust_loopback_identities=False,
        max_streams_per_identity=2000,
        jwt_pub_key_refresh_interval=1200.0,
        jwt_enable_remote_jwks="istiod",
        blocked_cidrs_in_jwks_uris=(),
        jwks_root_file=None,
        tls_on_sidecar_ingress=False,
        ip_autoallocate=True,
        scope_gateway_to_namespace=False,
        filter_gateway_cluster_config=False,
        http10=False,
        dual_stack=False,
        mongo_filter=True,
        redis_filter=False,
        absolute_names=True,
        inbound_retries=True,
        drain_duration=10.0,
        paranoid=False,
        log_level="info",
        log_format="text",
        insecure_allow_remote=False,
        debug_allow_remote=False,
        push_log=None,
        record=None,
    )


def test_every_field_has_one_option_in_the_same_order() -> None:
    assert [option.field for option in OPTIONS] == [field.name for field in dataclasses.fields(Settings)]


def test_the_environment_is_honoured_and_flags_win(config: str) -> None:
    environ = {
        "PILOT_DEBOUNCE_AFTER": "250ms",
        "PILOT_DEBOUNCE_MAX": "1m",
        "PILOT_ENABLE_EDS_DEBOUNCE": "0",
        "PILOT_PUSH_THROTTLE": "7",
        "PILOT_MAX_REQUESTS_PER_SECOND": "2.5",
        "ISTIO_GPRC_MAXRECVMSGSIZE": "1048576",
    }
    found = read(config, **environ)
    assert (found.debounce_after, found.debounce_max, found.eds_debounce) == (0.25, 60.0, False)
    assert (found.push_throttle, found.max_requests_per_second, found.max_request_bytes) == (7, 2.5, 2**20)
    flags = ("--debounce-after", "5ms", "--push-throttle=9", "--eds-debounce=true")
    found = read(config, *flags, **environ)
    assert (found.debounce_after, found.push_throttle, found.eds_debounce) == (0.005, 9, True)


def test_an_empty_variable_counts_as_unset(config: str) -> None:
    assert read(config, PILOT_DEBOUNCE_AFTER="").debounce_after == 0.1


@pytest.mark.parametrize(("cpus", "share"), [(1, 20), (2, 25), (17, 100), (64, 100)])
def test_the_throttle_follows_the_cpus(config: str, cpus: int, share: int) -> None:
    assert read(config, cpus=cpus).push_throttle == share


def test_a_switch_needs_no_value(config: str) -> None:
    assert read(config, "--paranoid").paranoid
    assert not read(config, "--paranoid=false").paranoid
    assert read(config, "--paranoid", "--debounce-adaptive").debounce_adaptive


@pytest.mark.parametrize(
    ("flags", "targets"),
    [
        (["--grpc-addr", "unix:/run/x.sock"], ["unix:/run/x.sock"]),
        (["--grpc-addr", "unix:///run/x.sock"], ["unix:/run/x.sock"]),
        (["--grpc-addr", "127.0.0.1:0, unix:/x"], ["127.0.0.1:0", "unix:/x"]),
        (["--grpc-addr", "[::1]:1", "--grpc-addr", "localhost:2"], ["[::1]:1", "localhost:2"]),
    ],
)
def test_grpc_addresses(config: str, flags: list[str], targets: list[str]) -> None:
    assert [str(address) for address in read(config, *flags).grpc_addr] == targets


@pytest.mark.parametrize("address", ["0.0.0.0:15010", ":15010", "[::]:1", "10.0.0.1:1", "example.org:1"])
def test_plaintext_beyond_this_machine_is_refused_unless_accepted(config: str, address: str) -> None:
    with pytest.raises(SettingsError, match="--insecure-allow-remote"):
        read(config, "--grpc-addr", f"127.0.0.1:15010,{address}")
    assert not read(config, "--grpc-addr", address, "--insecure-allow-remote").grpc_addr[0].is_local


def test_monitoring_may_listen_everywhere(config: str) -> None:
    assert str(read(config, "--monitoring-addr", ":15014").monitoring_addr) == "[::]:15014"


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (["--debounce-after", "100"], {}, "--debounce-after: '100' .*unit.*allowed is a duration such as"),
        ([], {"PILOT_DEBOUNCE_MAX": "soon"}, "PILOT_DEBOUNCE_MAX: 'soon' .*allowed is a duration"),
        (["--debounce-after", "20s"], {}, r"--debounce-max: 10s .*--debounce-after \(20s\)"),
        ([], {"PILOT_ENABLE_EDS_DEBOUNCE": "maybe"}, "'maybe' .*true or false"),
        (["--push-throttle", "-1"], {}, "--push-throttle: '-1' .*whole number"),
        (["--max-requests-per-second", "nan"], {}, "'nan' .*a number"),
        (["--ack-deadline", "0s"], {}, "--ack-deadline: '0s' .*above 0"),
        (["--max-request-bytes", "1"], {}, "'1' .*64KiB to 1024MiB"),
        (["--grpc-addr", "15010"], {}, "--grpc-addr: '15010' .*port is missing"),
        (["--grpc-addr", "localhost:99999"], {}, "'99999' is not a port"),
        (["--grpc-addr", "::1:15010"], {}, "needs brackets"),
        (["--grpc-addr", "unix:relative"], {}, "absolute path"),
        (["--grpc-addr", "unix:/" + "x" * 200], {}, "at most 107 bytes"),
        (["--grpc-addr", "localhost:1,localhost:1"], {}, "localhost:1 is there twice"),
        (["--grpc-addr", ""], {}, "nowhere to connect"),
        (["--secure-grpc-addr", ":15012"], {}, "--secure-grpc-addr: .*open to nobody"),
        (["--token-review", "/does/not/exist"], {}, "--token-review: .*no such file.*in-cluster"),
        (["--blocked-cidrs-in-jwks-uris", "10.0.0.1/8"], {}, "10.0.0.1/8 has host bits set.*10.0.0.0/8"),
        (["--jwt-enable-remote-jwks", "maybe"], {}, "--jwt-enable-remote-jwks: .*hybrid"),
        (["--jwks-root-file", "/does/not/exist"], {}, "--jwks-root-file: .*not there"),
        (["--token-audience", "a b"], {}, "--token-audience: 'a b' .*a word"),
        (
            ["--grpc-addr", ":1", "--insecure-allow-remote", "--trust-loopback-identities"],
            {},
            "--trust-loopback-identities: not together with --grpc-addr",
        ),
        (["--monitoring-addr", "unix:/x"], {}, "--monitoring-addr: .*Unix socket does not do"),
        (["--mesh-config", "/does/not/exist"], {}, "--mesh-config: '/does/not/exist' .*not there"),
        (["--config-dir", __file__], {}, "--config-dir: .*not a directory"),
        (["--config-dir", ""], {}, "--config-dir: '' .*required"),
        (["--log-level", "loud"], {}, "--log-level: 'loud' .*debug info warning error"),
        (["--log-format", "xml"], {}, "--log-format: 'xml' .*text json"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    config: str, flags: list[str], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        read(config, *flags, **environ)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("100ms", 0.1),
        ("1m30s", 90),
        ("1h15m30.5s", 4530.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250μs", 0.00025),
        ("1000000000ns", 1),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "s", "-1s", "1 s", "1s ", "1d", "1e3s", "٣s", "1s2", f"{'9' * 400}h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse.duration(text)


def test_the_help_shows_flag_variable_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    shown = " ".join(parser.format_help().split())
    for option in OPTIONS:
        assert option.flag in shown
        assert option.variable in shown
    assert "default 100ms; also PILOT_DEBOUNCE_AFTER" in shown


def test_the_table_has_a_row_for_each_option() -> None:
    lines = markdown().splitlines()
    assert len(lines) == len(OPTIONS) + 2
    assert {line.count(" | ") for line in lines if "---" not in line} == {4}


def test_variables_of_istio_that_mean_nothing_here_are_told() -> None:
    environ = {"PILOT_XDS_CACHE_SIZE": "1", "PILOT_DEBOUNCE_AFTER": "1s", "PATH": "/bin", "PILOT_A": ""}
    assert ignored_variables(environ) == ("PILOT_A", "PILOT_XDS_CACHE_SIZE")


def test_the_cpus_are_asked_of_the_system(config: str) -> None:
    args = argparse.Namespace(config_dir=[config])
    assert 20 <= from_args(args, {}).push_throttle <= 100
