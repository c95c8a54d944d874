"""The run folder's files: what is written is read back, and what is broken is found."""

from pathlib import Path

import pytest

from controlplane.lab.latency import pushlog
from controlplane.lab.latency.dataset import Change, DatasetError, Latency, Receipt, Sample, Turn, read, write
from tests.unit.lab.latency.logs import VS, Run


def test_every_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    tables = {
        Change: [Change(1, *VS, "put", 0.5, 100.000000001, -0.004), Change(2, *VS, "delete", 1.0, 101.0)],
        Receipt: [
            Receipt("a.n", "rds", 1.5, 10, 1, 0, (3, 4), None),
            Receipt("a.n", "eds", 2.0, 1, 0, 1, (), 2.5),
        ],
        Sample: [Sample(1.0, "server", 0.25, 1 << 20, 0.125, None, 0.5)],
        Turn: [Turn(0, 1.5, 0.25)],
        Latency: [Latency(1, "a.n", True, source=-0.001, status="acked", note="coalesced", revision=7)],
    }
    for of, rows in tables.items():
        path = tmp_path / f"{of.__name__}.csv"
        write(path, of, rows)
        assert read(path, of) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,kind\n", ":1: there is no column 'namespace'"),
        (f"{','.join(Change._fields)}\n1,2\n", ":2: 2 cells, not 8"),
        (
            f"{','.join(Change._fields)}\n1,k,n,o,put,0,1,\nx,k,n,o,put,0,1,\n",
            ":3: column 'number': 'x' is not a whole",
        ),
        (f"{','.join(Change._fields)}\n1,k,n,o,put,,1,\n", ":2: column 'scheduled': '' is not a number"),
    ],
)
def test_an_error_names_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "changes.csv"
    path.write_text(text)
    with pytest.raises(DatasetError) as error:
        read(path, Change)
    assert str(path) + message in str(error.value)


def test_columns_may_stand_in_any_order_and_new_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    path.write_text("rss,more,at,process,cpu,waiting,lag,gc\n5,x,1,server,2,3,,\n")
    assert read(path, Sample) == [Sample(1.0, "server", 2.0, 5, 3.0, None, None)]
    with pytest.raises(DatasetError, match="cannot be read"):
        read(tmp_path / "none.csv", Sample)


def test_the_log_is_read_in_order_and_its_streams_are_proxies() -> None:
    run = Run()
    run.response("a.n-2", 3, 2.0)
    run.response("a.n-2", 2, 1.0, answered=None)
    run.event("gc", at=1.0, generation=2, seconds=0.5)
    log = run.log()
    assert [one.planned for one in log.responses] == [1.0, 2.0]
    assert [(one.answered, one.ok) for one in log.responses] == [(None, None), (2.4, True)]
    assert log.pauses == [pushlog.Pause(1.0, 0.5, "2")]
    assert log.epoch == 5.0
    assert [pushlog.proxy_of(name) for name in ("s1-4.ns-1-17", "a.n", "a-b.n")] == [
        "s1-4.ns-1",
        "a.n",
        "a-b.n",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":2: is no JSON"),
        ('{"e":"nap"}', ":2: there is no event 'nap'"),
        ('{"e":"settled","revision":1}', ":2: there is no field 'at'"),
        ('{"e":"settled","revision":"x","at":1}', ":2: invalid literal"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "push-log.jsonl"
    path.write_text(f'{{"e":"start","at":1,"epoch":2}}\n{line}\n')
    with pytest.raises(DatasetError) as error:
        pushlog.read(path)
    assert str(path) + message in str(error.value)


def test_a_last_line_without_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "push-log.jsonl"
    path.write_text('{"e":"start","at":1,"epoch":2}\n{"e":"settled","revi')
    assert pushlog.read(path).settled == []
