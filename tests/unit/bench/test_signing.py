"""The case of signing: it runs, and its parts are parts of the whole."""

from __future__ import annotations

from bench import signing


def test_shares_add_up() -> None:
    found = signing._shares({"whole": [100.0, 300.0], "key": [20.0, 40.0], "signature": [50.0, 70.0]})
    assert (found["rounds"], found["per_second"], found["p50"]) == (2, 5000.0, 300.0)
    assert (found["key"], found["check"], found["signature"], found["rest"]) == (30.0, None, 60.0, 110.0)
    assert found["share"] == 0.45


def test_the_case_runs() -> None:
    found = signing.run(20)
    assert [one["rounds"] for one in found.values()] == [20, 20, 10, 10]
    assert all(one["per_second"] > 0 for one in found.values())
