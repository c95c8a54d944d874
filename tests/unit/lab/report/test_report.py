"""Reports say what was measured, and need nothing but the run folder."""

from __future__ import annotations

import re
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from controlplane.lab import report
from controlplane.lab.latency.dataset import DatasetError
from controlplane.lab.report import data, sweeps
from controlplane.lab.report.style import PlotError, figure
from controlplane.lab.report.words import percent
from tests.unit.lab.report.runs import run_folder

SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Cells of tables, and whether every tag is closed by its own."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.seen: set[str] = set()
        self.ids: list[str] = []
        self.text = ""
        self._in = False
        self.feed(text)
        assert self.tags == []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        self._in = tag in ("td", "th")
        if self._in:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs) -> None:
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag) -> None:
        assert self.tags.pop() == tag
        self._in = False

    def handle_data(self, text) -> None:
        self.text += text
        if self._in:
            self.rows[-1][-1] += text

    def row(self, *first: str) -> list[str]:
        (found,) = [row for row in self.rows if tuple(row[: len(first)]) == first]
        return found[len(first) :]


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def words(path: Path) -> list[str]:
    """The texts of a picture, in order."""
    return ["".join(one.itertext()).strip() for one in ElementTree.parse(path).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    return report.write(run_folder(tmp_path_factory.mktemp("one") / "run"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("two")
    wait = {"fixed_wait": 0.015}
    folders = [run_folder(where / f"a{n}", "ours", 1 + n / 10) for n in range(2)]
    folders += [
        run_folder(where / f"b{n}", "theirs", 4 + n / 2, stages=False, options=wait) for n in range(2)
    ]
    return report.compare(folders)


def test_the_numbers_are_in_the_page(one) -> None:
    page = read(one)
    # 10, 20, 20, 30, 40 and 60 ms: rows that are untouched or were never received are in no latency.
    assert page.row("each proxy") == ["6", "30", "60", "60", "60", "30"]
    assert page.row("last proxy of a change") == ["3", "40", "60", "60", "60", "40"]
    assert page.row("VirtualService, each proxy")[0] == "2"
    assert page.row("debounce")[:5] == ["6", "12", "12", "12", "6"]
    assert page.row("CPU per change, s")[0] == "0.005"
    assert page.row("loop lag max, ms")[0] == "8.25"
    assert "half of them within 30 ms" in page.text
    # The receipt is a tenth of the whole after the note of the write.
    assert page.row("wire")[:5] == ["3", "6", "6", "6", "3"]
    assert "a negative wire means that the proxy had the response before that note" in page.text
    said = "agree: of 6 (change, proxy), 50 % differ by at most 1 ms with nothing granted, and 0 by more"
    assert said in page.text
    assert "told 5 ms too late would show in 66.6 % of the rows, 5 ms too early in 12 %." in page.text


def test_the_page_says_how_to_do_it_again(one) -> None:
    page = read(one)
    assert "mini-istiod bench run tiny --note 'two words'" in page.text
    assert "A run for tests <not large>." in page.text
    assert re.search(r"seed\s*77", page.text)
    assert "6.1-test" in page.text


def test_the_page_needs_nothing_else(one, two) -> None:
    for path in (one, two):
        page = read(path)
        assert page.seen.isdisjoint({"script", "link", "img", "iframe"})
        assert page.seen >= {"svg", "figure", "figcaption", "table", "caption", "main"}
        assert len(page.ids) == len(set(page.ids))
        text = path.read_text()
        assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)) != set()
        for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text):
            assert "".join(pair) in page.ids


def test_pictures_say_what_their_axes_are(one, two) -> None:
    found = {path.stem: words(path) for path in one.parent.glob("*.svg")}
    assert sorted(found) == ["changes", "latency", "stages", "timeline"]
    for name in ("latency", "stages", "changes"):
        assert any(text.startswith("ms since the file was renamed") for text in found[name]), name
    assert {"share of changes", "share of (change, proxy)"} <= set(found["latency"])
    assert {"latency, ms", "CPU, cores", "seconds since the schedule began"} <= set(found["timeline"])
    cost = words(two.parent / "comparison-cost.svg")
    assert {"ms", "B", "MB", "CPU per change"} <= set(cost)
    assert {"watch", "ServiceEntry → EDS", "VirtualService → RDS"} <= set(found["stages"])


def test_the_same_run_gives_the_same_picture(one, tmp_path) -> None:
    again = report.write(run_folder(tmp_path / "run"))
    for path in sorted(one.parent.glob("*.svg")):
        assert (again.parent / path.name).read_bytes() == path.read_bytes(), path.name


def test_two_servers_beside_each_other(two) -> None:
    page = read(two)
    assert page.row("ours, each proxy")[0] == page.row("theirs, each proxy")[0] == "12"
    # Repeat by repeat: 120 / 30 and 135 / 33 ms, of which 15 ms are no merit.
    assert page.row("each proxy, p50: theirs / ours") == ["4.05", "4 to 4.09", "2"]
    assert page.row("each proxy, p50, without fixed waits: theirs / ours") == ["3.57", "3.5 to 3.64", "2"]
    assert "15 ms that it always waits" in page.text
    assert page.row("bytes per change, B")[:2] == ["1,296 (1,234 to 1,357)", "5,244 (4,936 to 5,553)"]
    assert "theirs does not tell its stages" in page.text
    assert any("ours" in text for text in words(two.parent / "comparison-latency.svg"))


def test_one_server_with_other_options_is_another_curve(tmp_path) -> None:
    folders = [
        run_folder(tmp_path / f"{value}", options={"debounce_after": value, "throttle": 7})
        for value in (0.1, 0.0)
    ]
    page = read(report.compare([*folders, run_folder(tmp_path / "b", "theirs")]))
    assert page.row("mini-istiod (debounce_after 0.1), each proxy")[0] == "6"
    assert page.row("mini-istiod (debounce_after 0.0), each proxy")[0] == "6"
    assert page.row("theirs, each proxy")[0] == "6"


def test_a_sweep_is_drawn_against_its_parameter(tmp_path) -> None:
    folders = [
        run_folder(tmp_path / f"{value}-{n}", factor=1 + value + n / 10, swept={"throttle": value})
        for value in (1, 10, 100)
        for n in range(2)
    ]
    path = report.sweep(folders, "throttle", tmp_path / "out")
    page = read(path)
    assert [row[:3] for row in page.rows if len(row) == 8 and row[0] != "throttle, streams at once"] == [
        ["1", "2", "12"],
        ["10", "2", "12"],
        ["100", "2", "12"],
    ]
    assert "throttle, streams at once" in [row[0] for row in page.rows]
    assert "throttle, streams at once" in words(tmp_path / "out/sweep-throttle.svg")
    assert {"ms to each proxy", "CPU ms per change", "kB per change"} <= set(
        words(tmp_path / "out/sweep-throttle.svg")
    )
    assert sweeps.value(data.read(folders[0]), "services") == 3
    with pytest.raises(DatasetError, match="does not say what colour was"):
        report.sweep(folders, "colour")


def test_a_sweep_over_times_tells_their_unit(tmp_path) -> None:
    folders = [run_folder(tmp_path / f"{at}", swept={"debounce_after": at}) for at in (0, 0.05)]
    page = read(report.sweep(folders, "debounce_after", tmp_path))
    assert "debounce_after, s" in [row[0] for row in page.rows]


def test_runs_that_have_little_in_common_have_room_for_their_labels(tmp_path) -> None:
    folders = [
        run_folder(tmp_path / f"{at}", options={f"some_option_{n}": f"value-{at}-{n}" for n in range(12)})
        for at in (1, 2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.compare(folders)
    lines = [text for text in words(tmp_path / "comparison-cost.svg") if "value-1-" in text]
    assert len(lines) > 3 and max(map(len, lines)) <= 44


def test_a_picture_grows_when_its_labels_leave_no_room(tmp_path) -> None:
    with warnings.catch_warnings(), figure(tmp_path / "small.svg", size=(1.0, 1.0)) as (axis,):
        warnings.simplefilter("error")
        axis.set_yticks([0], ["w" * 60])
    root = ElementTree.parse(tmp_path / "small.svg").getroot()
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    # All of the label is in the picture, and beside it there is something to see.
    assert width > 300 and height < 100


def test_a_share_is_rounded_down() -> None:
    assert [percent(part) for part in (1.0, 0.9999, 0.29, 0.0)] == ["100 %", "99.9 %", "29 %", "0 %"]


# -- what is missing ------------------------------------------------------------------------------------


def test_a_missing_column_is_named(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    path = folder / "latency.csv"
    path.write_text(path.read_text().replace("number,proxy", "number,who"))
    with pytest.raises(DatasetError, match=r"latency\.csv:1: there is no column 'proxy'"):
        report.write(folder)


def test_a_missing_file_is_named(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "summary.json").unlink()
    with pytest.raises(DatasetError, match=r"summary\.json: cannot be read"):
        report.write(folder)
    with pytest.raises(DatasetError, match="there is no run"):
        report.write(tmp_path / "elsewhere")


def test_a_change_that_is_in_no_log_is_named(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    path = folder / "changes.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DatasetError, match=r"change 3 is not in changes\.csv"):
        report.write(folder)


def test_without_the_drawing_library_it_is_said_how_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotError, match=r"pip install 'mini-istiod\[lab\]'"):
        report.write(run_folder(tmp_path / "run"))


def test_a_run_in_which_nothing_arrived_is_reported_too(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    path = folder / "latency.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    page = read(report.write(folder))
    assert "no change reached any proxy" in page.text
    assert page.row("each proxy")[0] == "0"
