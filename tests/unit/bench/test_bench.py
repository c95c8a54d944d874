"""The instruments: what measures must itself be right."""

from __future__ import annotations

from bench.figures import quantile, summary, table, thinned
from controlplane.lab.churn.mesh import Mesh
from controlplane.model.kinds import BY_NAME


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 11)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.9, 1.0)] == [1.0, 6.0, 10.0, 10.0]
    assert summary([0.002, 0.001], 1000)["max"] == 2.0
    assert summary([]) == {"n": 0}


def test_a_thinned_sample_keeps_both_ends() -> None:
    sample = thinned(range(10_000), 100)
    assert (len(sample), sample[0], sample[-1]) == (100, 0, 9999)


def test_a_table_is_aligned() -> None:
    assert table(("what", "n"), [("a", 1.5), ("bcdef", None)]).splitlines() == [
        "| what  |   n |",
        "|-------|----:|",
        "| a     | 1.5 |",
        "| bcdef |     |",
    ]


def test_every_object_of_a_synthetic_mesh_is_valid() -> None:
    kinds = set()
    for raw in Mesh(services=20, namespaces=3).objects():
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None, parsed.problems
        assert parsed.problems == ()
        kinds.add(raw["kind"])
    assert kinds == {"Namespace", "Service", "EndpointSlice", "VirtualService", "DestinationRule"}
