"""The names, types and bounds that dashboards ask for, and the limits of what peers can add."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from controlplane.telemetry.exposition import Count, Spread, expose
from controlplane.telemetry.metrics import Metrics, short

ISTIO_COUNTERS = {
    "pilot_xds_pushes": ("type",),
    "pilot_push_triggers": ("type",),
    "pilot_inbound_updates": ("type",),
    "pilot_total_xds_rejects": ("type",),
    "pilot_xds_expired_nonce": ("type",),
    "pilot_xds_write_timeout": (),
    "pilot_total_xds_internal_errors": (),
    "pilot_xds_push_context_errors": (),
}
ISTIO_GAUGES = {
    "pilot_xds",
    "pilot_info",
    "pilot_services",
    "pilot_virt_services",
    "pilot_xds_recv_max",
    "istiod_uptime_seconds",
}
ISTIO_BUCKETS = {
    "pilot_debounce_time": (0.01, 0.1, 0.5, 1, 3, 5, 10, 20, 30),
    "pilot_pushcontext_init_seconds": (0.01, 0.1, 0.5, 1, 3, 5),
    "pilot_xds_push_time": (0.01, 0.1, 0.5, 1, 3, 5, 10, 20, 30),
    "pilot_xds_send_time": (0.01, 0.1, 1, 3, 5, 10, 20, 30),
    "pilot_proxy_queue_time": (0.1, 0.5, 1, 3, 5, 10, 20, 30),
    "pilot_proxy_convergence_time": (0.1, 0.5, 1, 3, 5, 10, 20, 30),
    "pilot_xds_config_size_bytes": (1, 1e4, 1e6, 4e6, 1e7, 4e7),
}


def metrics() -> Metrics:
    return Metrics("1.2.3", lambda: 42.0)


def text(m: Metrics) -> str:
    return m.text()[1].decode()


def test_counters_have_istios_exact_names_and_are_declared_counters() -> None:
    m = metrics()
    for name, labels in ISTIO_COUNTERS.items():
        count = next(c for c in vars(m).values() if isinstance(c, Count) and c._name == name)
        count.inc(*["cds"] * len(labels), by=2)
        shown = "".join(f'{{{label}="cds"}}' for label in labels)
        assert f"# TYPE {name} counter\n" in text(m)
        assert f"\n{name}{shown} 2.0\n" in text(m)
    assert not re.search(r"^pilot_(xds_pushes|push_triggers|total_xds_rejects)_total", text(m), re.MULTILINE)


def test_no_family_is_left_untyped_and_no_creation_times_are_shown() -> None:
    m = metrics()
    m.push_time.of("cds").observe(0.1)
    assert "untyped" not in text(m)
    assert "_created" not in text(m)


def test_gauges_are_there_from_the_start() -> None:
    shown = text(metrics())
    for name in ISTIO_GAUGES:
        assert f"# TYPE {name} gauge\n" in shown
    assert '\npilot_info{version="1.2.3"} 1.0\n' in shown
    assert "\nistiod_uptime_seconds 42.0\n" in shown


@pytest.mark.parametrize("name", sorted(ISTIO_BUCKETS))
def test_histograms_have_istios_bounds_and_finer_ones(name: str) -> None:
    m = metrics()
    m.push_time.of("cds").observe(0.0002)
    m.config_size.of("cds").observe(10)
    found = {float(bound) for bound in re.findall(rf'^{name}_bucket{{le="([^"]+)"', text(m), re.MULTILINE)}
    assert found >= {*ISTIO_BUCKETS[name], float("inf")}
    if name != "pilot_xds_config_size_bytes":
        assert min(found) < 0.001


def test_the_page_is_parsed_by_a_prometheus_parser() -> None:
    m = metrics()
    m.xds_pushes.inc("cds")
    m.rejected("lds", 'odd"node\n', 13)
    families = {family.name: family for family in text_string_to_metric_families(text(m))}
    samples = families["pilot_xds_lds_reject"].samples
    assert [(s.labels, s.value) for s in samples] == [({"node": 'odd"node\n', "err": "Internal"}, 1.0)]


def test_help_that_speaks_of_untyped_families_is_left_alone() -> None:
    registry = CollectorRegistry()
    Count(registry, "odd", "# TYPE odd untyped")
    assert expose(registry) == b"# HELP odd # TYPE odd untyped\n# TYPE odd counter\nodd 0.0\n"


def test_a_counter_refuses_to_go_back_and_wrong_labels() -> None:
    count = Count(CollectorRegistry(), "c", "a count", ("type",))
    with pytest.raises(ValueError, match="c: -1"):
        count.inc("cds", by=-1)
    with pytest.raises(ValueError, match="wanted >= 0 for"):
        count.inc()


def test_a_counters_series_are_limited() -> None:
    count = Count(CollectorRegistry(), "c", "a count", ("type",), limit=2)
    for label in ("a", "b", "c", "d", "a"):
        count.inc(label)
    assert [count.get(label) for label in ("a", "b", "c", "other")] == [2, 1, 0, 2]


def test_a_name_is_registered_once() -> None:
    registry = CollectorRegistry(auto_describe=True)
    Count(registry, "c", "a count")
    with pytest.raises(ValueError, match="Duplicated"):
        Count(registry, "c", "a count")


def test_a_rejection_stands_until_the_type_is_accepted_or_the_proxy_leaves() -> None:
    m = metrics()
    m.rejected("cds", "a.ns", 13)
    m.rejected("cds", "a.ns", 3)
    m.rejected("lds", "a.ns", 999)
    assert 'pilot_xds_cds_reject{err="Internal",node="a.ns"} 1.0' in text(m)
    assert 'pilot_xds_cds_reject{err="InvalidArgument",node="a.ns"} 1.0' in text(m)
    assert 'pilot_xds_lds_reject{err="Unknown",node="a.ns"} 1.0' in text(m)
    m.accepted("cds", "a.ns")
    assert "pilot_xds_cds_reject{" not in text(m)
    assert "pilot_xds_lds_reject{" in text(m)
    m.gone("a.ns")
    m.gone("a.ns")
    assert "_reject{" not in text(m)
    assert m.total_rejects.get("cds") == 2


def test_rejecting_proxies_are_limited() -> None:
    m = metrics()
    for n in range(1500):
        m.rejected("cds", f"p{n}", 13)
    assert text(m).count("pilot_xds_cds_reject{") == 1001
    assert 'node="other"} 500.0' in text(m)


def test_versions_of_proxies_are_limited_and_balance() -> None:
    m = metrics()
    names = [f"1.{n}" for n in range(30)] + ["", "x" * 1000]
    for name in names:
        m.connected(name, 1)
    assert text(m).count("pilot_xds{") == 21
    assert 'pilot_xds{version="other"} 12.0' in text(m)
    for name in names:
        m.connected(name, -1)
    assert not re.search(r"^pilot_xds{.*} [^0]", text(m), re.MULTILINE)


def test_unknown_types_and_reasons_do_not_make_series() -> None:
    m = metrics()
    assert (short("rds"), short("type.googleapis.com/x")) == ("rds", "other")
    m.trigger("endpoint")
    m.trigger("weather")
    assert (m.push_triggers.get("endpoint"), m.push_triggers.get("unknown")) == (1, 1)
    m.rejected("weather", "a", 13)
    assert m.total_rejects.get("other") == 1


def test_the_largest_request_is_kept() -> None:
    m = metrics()
    for size in (10, 500, 20):
        m.received(size)
    assert "pilot_xds_recv_max 500.0" in text(m)


def test_a_histogram_equals_prometheus_clients() -> None:
    values = [n * 0.37 % 7 for n in range(10_000)] + [0.0, 1.0, 5.0, 1e9]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spread = Spread(ours, "h", "a histogram", (0.5, 1.0, 5.0))
    histogram = Histogram("h", "a histogram", registry=theirs, buckets=(0.5, 1.0, 5.0))
    for value in values:
        spread.of().observe(value)
        histogram.observe(value)
    for bound in ("0.5", "1.0", "5.0", "+Inf"):
        labels = {"le": bound}
        assert ours.get_sample_value("h_bucket", labels) == theirs.get_sample_value("h_bucket", labels)
    assert ours.get_sample_value("h_count") == len(values)
    assert ours.get_sample_value("h_sum") == pytest.approx(sum(values))


def test_a_histogram_keeps_few_values_in_waiting_and_few_label_values() -> None:
    spread = Spread(CollectorRegistry(), "h", "a histogram", (1.0,), "type")
    for n in range(100):
        spread.of(f"t{n}").observe(n)
    assert len(spread._cells) == 65
    assert spread.of("other") is spread.of("t99")
    cell = spread.of("t0")
    for _ in range(100_000):
        cell.observe(0.5)
    assert len(cell._waiting) <= 4096


def test_a_histogram_refuses_what_it_cannot_show() -> None:
    registry = CollectorRegistry()
    with pytest.raises(ValueError, match="must ascend"):
        Spread(registry, "h", "a histogram", (2.0, 1.0))
    plain = Spread(registry, "plain", "a histogram", (1.0,))
    with pytest.raises(ValueError, match="has no label"):
        plain.of("cds")
    with pytest.raises(ValueError, match="bounds differ"):
        Spread(registry, "typed", "a histogram", (2.0,), "type").share("x", plain.of())


def test_spans_feed_istios_histograms_and_the_stages() -> None:
    m = metrics()
    spans = m.spans()
    for stage in (
        spans.debounce,
        spans.compute,
        spans.ready,
        spans.plan,
        spans.write,
        spans.converge,
        spans.ack,
    ):
        stage(0.0002)
    spans.push("cds", 0.0002)
    spans.push("strange", 0.0002)
    value = m.registry.get_sample_value
    for stage_name in ("debounce", "compute", "plan", "write", "ack"):
        assert value("mini_istiod_push_stage_seconds_count", {"stage": stage_name}) == 1
    for name in ISTIO_BUCKETS.keys() - {"pilot_xds_push_time", "pilot_xds_config_size_bytes"}:
        assert value(f"{name}_bucket", {"le": "0.00025"}) == 1, name
    assert value("pilot_xds_push_time_count", {"type": "cds"}) == 1
    assert value("pilot_xds_push_time_count", {"type": "other"}) == 1
