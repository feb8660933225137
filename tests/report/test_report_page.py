from __future__ import annotations

import base64
import gzip
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_runs import NASTY_LABEL, NASTY_PROMPT, write_hills

from plateau_lens.report import run_data
from plateau_lens.report.build import Report, build_report
from plateau_lens.report.page import render
from plateau_lens.report.sections.explorer import median_curves
from plateau_lens.runs.folder import RunFolder


class Reader(HTMLParser):
    """Collects what a browser would fetch, what it would run, and the text it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.scripts: dict[str, str] = {}
        self.policy = ""
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.fetched += [
            found[name] for name in ("src", "srcset", "data", "poster", "action") if name in found
        ]
        if "href" in found:
            (self.links if tag == "a" else self.fetched).append(found["href"])
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        self._inside = found.get("id", "") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self.text.append(data)
        else:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data


@pytest.fixture(scope="module")
def page(whole: tuple[RunFolder, Report]) -> str:
    assert whole[1].page is not None
    return whole[1].page.read_text()


@pytest.fixture(scope="module")
def reader(page: str) -> Reader:
    found = Reader()
    found.feed(page)
    return found


def test_page_fetches_nothing(reader: Reader, page: str) -> None:
    assert reader.fetched
    assert all(each.startswith("data:image/svg+xml;base64,") for each in reader.fetched)
    assert "link" not in reader.tags
    css = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in css
    assert "@import" not in css
    # And were there something after all, the browser is told to refuse it.
    assert reader.policy.startswith("default-src 'none'")
    assert "http" not in reader.policy


def test_no_script_runs_but_ours(reader: Reader, page: str) -> None:
    (_, allowed) = reader.policy.split("script-src ")
    library = gzip.decompress(base64.b64decode(reader.scripts["chart-library"])).decode()
    ours = [page[at : page.index("</script>", at)] for at in _after(page, "<script>")]
    assert len(ours) == 1
    hashes = [base64.b64encode(sha256(text.encode()).digest()).decode() for text in (*ours, library)]
    assert allowed.split() == [f"'sha256-{each}'" for each in hashes]


def _after(text: str, mark: str) -> list[int]:
    return [found.end() for found in re.finditer(re.escape(mark), text)]


def test_a_page_without_scripts_lets_none_run(run_path: Path) -> None:
    data = run_data.load(write_hills(run_path, pairs=4, experiments=("toward",), responses=("l2",)))
    assert "script-src 'none'" in render(data, [], [])


def test_page_links_stay_in_the_run_folder(reader: Reader, whole: tuple[RunFolder, Report]) -> None:
    for link in reader.links:
        assert link.startswith(("#", "figures/", "tables/"))
        if not link.startswith("#"):
            assert (whole[0].path / link).is_file()


def test_page_escapes_what_comes_from_data(reader: Reader, page: str) -> None:
    text = "".join(reader.text)
    assert NASTY_LABEL in text
    assert NASTY_PROMPT in text
    assert "a <i>name</i>" in text
    # Two of our own scripts' data, and one script.
    assert reader.tags.count("script") == 3
    assert "alert(" not in "".join(reader.scripts.values())
    assert "<i>name" not in page
    assert "<b>$x$" not in page


def test_marks_that_hide_or_turn_text_are_written_out(run_path: Path) -> None:
    folder = write_hills(
        run_path,
        pairs=4,
        experiments=("toward",),
        responses=("l2",),
        kinds=("model-generated", "random"),
        prompts=("a\x00b\x1b[31m\u202ec\nd \N{ZERO WIDTH JOINER}",),
    )
    report = build_report(folder)
    assert report.page is not None
    page = report.page.read_text()
    assert "a\\x00b\\x1b[31m\\u202ec\nd \N{ZERO WIDTH JOINER}" in page
    written = [page, *(path.read_text() for path in report.tables if path.suffix != ".csv")]
    assert not any(mark in text for text in written for mark in "\x00\x1b\u202e")


def test_page_tells_what_was_run_and_what_things_mean(reader: Reader) -> None:
    text = " ".join("".join(reader.text).split())
    for expected in (
        "blocks.11.hook_resid_post",
        "Censored: the event was not seen",
        "MS step (max slope)",
        "AP step: sensitivity to its threshold",
        "curves/part-00000.parquet",
        "threshold: 20.0",
        "41.11 ± 10.40",
    ):
        assert expected in text


def test_interactive_chart_is_whole_and_small(reader: Reader, page: str) -> None:
    assert len(page) < 6e6
    library = gzip.decompress(base64.b64decode(reader.scripts["chart-library"])).decode()
    assert "Plotly" in library[-2000:]
    figure = json.loads(reader.scripts["chart-figure"])
    (menu,) = figure["layout"]["updatemenus"]
    assert [button["label"] for button in menu["buttons"]] == [
        f"{experiment}, {response}, {schedule}"
        for experiment in ("Toward", "From")
        for response in ("L2", "KL")
        for schedule in ("absolute", "relative")
    ] + ["At the end, KL, relative"]
    assert all(len(button["args"][0]["visible"]) == len(figure["data"]) for button in menu["buttons"])
    # Plotly reads a little HTML in names: a label must reach it escaped.
    assert not any("<b>" in str(trace.get("name")) for trace in figure["data"])


def test_median_curves_stop_where_half_of_the_pairs_have_ended(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=9, experiments=("toward",), schedules=("absolute",), responses=("l2",)
    )
    data = run_data.load(folder)
    figure = median_curves(data)
    assert figure is not None
    line = next(trace for trace in figure.data if trace.mode == "lines")
    (curves, *_) = data.curves("toward", "absolute", "l2")
    assert max(line.x) == sorted(curves.last)[4]


def test_page_without_curves_or_figures_still_stands(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=2, experiments=("from",), schedules=("relative",), responses=("l2",))
    folder.write_manifest({"format": 1, "shards": {}, "nested": {"list": [{"a": 1}, 2], "none": None}})
    report = build_report(folder)
    assert report.page is not None
    reader = Reader()
    reader.feed(report.page.read_text())
    text = "".join(reader.text)
    assert "nested.list.0.a" in text
    assert all(reason in text for reason in report.skipped)
    assert reader.scripts == {}


def test_every_style_rule_survives_dark_and_narrow(page: str) -> None:
    assert re.search(r"prefers-color-scheme: dark", page)
    assert 'name="viewport"' in page
