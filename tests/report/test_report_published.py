from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from synthetic_runs import KINDS, write_hills

from plateau_lens.report import published, run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.paper_kinds import PAPER_KINDS
from plateau_lens.report.published import Number
from plateau_lens.report.run_data import Group
from plateau_lens.report.sections.paper_tables import PaperTables
from plateau_lens.runs.config import load_config
from plateau_lens.runs.folder import RunFolder

DASH = "\N{EN DASH}"
MS_RELATIVE = Group("toward", "ms", "l2", "relative")
MS_ABSOLUTE = Group("toward", "ms", "l2", "absolute")
NL_RELATIVE = Group("toward", "nl", "l2", "relative")
NL_VALUE_RELATIVE = Group("toward", "nl-value", "l2", "relative")
AP_FROM = Group("from", "ap", "l2", "absolute")


@pytest.fixture
def gpt2(run_path: Path) -> RunFolder:
    return write_hills(run_path, pairs=5, experiments=("toward", "from"), responses=("l2", "kl"))


def test_the_papers_preset_is_comparable_and_others_are_not() -> None:
    assert published.comparable(load_config("gpt2-paper"))
    assert published.comparable(load_config("gpt2-paper", {"convention": "notebook"}))
    assert not published.comparable(load_config("smollm2-135m"))


@pytest.mark.parametrize(
    "overrides",
    [
        {"site": "blocks.2.hook_resid_pre"},
        {"read_site": "blocks.10.hook_resid_post"},
        {"prompts.n_ctx": 128},
        {"prompts.source": "bundled"},
        {"model.source": "gpt2-medium"},
        {"sae.source": "another"},
        {"n_steps": 50},
    ],
)
def test_another_set_up_is_not_comparable(overrides: dict[str, Any]) -> None:
    config = load_config("gpt2-paper", overrides)
    assert not published.comparable(config)
    assert published.beside(config, MS_RELATIVE) == {}


def test_a_group_on_another_scale_has_nothing_beside_it() -> None:
    halved = load_config("gpt2-paper", {"step_size": 0.25})
    assert published.beside(halved, MS_ABSOLUTE) == {}
    assert published.beside(halved, MS_RELATIVE)
    threshold = load_config("gpt2-paper", {"statistics.ap_threshold": 10.0})
    assert published.beside(threshold, AP_FROM) == {}
    assert published.beside(load_config("gpt2-paper"), AP_FROM)
    # 100/99 of 0.5 a step, as in the notebooks.
    assert published.beside(load_config("gpt2-paper", {"convention": "notebook"}), MS_ABSOLUTE)


def test_kinds_are_matched_by_what_they_are_not_by_their_label() -> None:
    kinds = {
        "real": {"kind": "model-generated"},
        "free": {"kind": "synthetic-baseline", "match": "none"},
        "synthetic-baseline": {"neighbours": 3},
        "structured-without-cosine": {"code": "other"},
    }
    config = load_config("gpt2-paper", {"kinds": kinds, "experiments": ["toward"]})
    found = published.beside(config, MS_RELATIVE)
    # Table A.1; free is synthetic-random by another name, and the other two are not as the paper's.
    assert {label: number.mean for label, (number, _) in found.items()} == {"real": 51.65, "free": 55.25}


def test_every_number_is_cited_by_the_first_table_that_has_it() -> None:
    config = load_config("gpt2-paper", {"kinds": list(PAPER_KINDS)})
    absolute, relative = (published.beside(config, group) for group in (MS_ABSOLUTE, MS_RELATIVE))
    paper = "arXiv 2409.15019v2, Table"
    assert absolute["random"] == (Number(52.49, 10.21, 0.45), f"{paper} 1")
    assert absolute["structured-without-cosine"] == (Number(50.17, 11.96, 0.31), f"{paper} A.1")
    assert absolute["sae-reconstruction"] == (Number(41.49, 11.34, 0.02), f"{paper} D.1")
    assert relative["random"] == (Number(64.89, 10.50, 0.62), f"{paper} A.1")
    # The numbers of Table B.2 are of the notebooks' rule; of the text's nothing was published.
    assert published.beside(config, NL_VALUE_RELATIVE)["random"] == (
        Number(36.33, 12.33, 0.27),
        f"{paper} B.2",
    )
    assert published.beside(config, NL_RELATIVE) == {}
    ap = published.beside(config, AP_FROM)
    assert {kind: number.median for kind, (number, _) in ap.items()} == {
        "model-generated": 16,
        "random": 9,
        "synthetic-baseline": 6,
        "synthetic-structured": 8,
    }
    assert {source for _, source in ap.values()} == {published.NOTEBOOKS}


@pytest.mark.parametrize("table", published.TABLES, ids=lambda each: each.name)
def test_published_numbers_are_possible(table: published.PaperTable) -> None:
    for schedule, numbers in table.numbers.items():
        assert schedule in table.schedules
        for kind, number in numbers.items():
            assert kind in PAPER_KINDS
            assert math.isnan(number.ks) == (kind == "model-generated" or not math.isnan(number.median))
            given = [each for each in number if not math.isnan(each)]
            assert all(0 < each <= 100 for each in given)
            assert math.isnan(number.ks) or number.ks <= 1


def test_published_values_stand_in_the_tables_with_their_source(gpt2: RunFolder) -> None:
    build_report(gpt2, only_tables=True)
    markdown = (gpt2.path / "tables" / "toward-ms.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| sae-reconstruction ")]
    # L2 absolute, L2 relative, KL absolute, KL relative; nothing was published of the last two.
    assert [line.split(" | ")[-2:] for line in rows] == [
        ["41.49 ± 11.34", "0.02 |"],
        ["53.34 ± 8.39", "0.11 |"],
        *[[DASH, f"{DASH} |"]] * 2,
    ]
    latex = (gpt2.path / "tables" / "toward-ms.tex").read_text()
    assert r"41.49 $\pm$ 11.34 & 0.02 \\" in latex
    assert "Table 1; arXiv 2409.15019v2, Table D.1." in markdown
    ap = (gpt2.path / "tables" / "from-ap.md").read_text()
    assert "| median 16 |" in ap
    assert "jettjaniak/teren" in ap
    assert "ublished" not in (gpt2.path / "tables" / "toward-ap.md").read_text()


def test_another_model_has_nothing_published_in_its_own_tables(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=2, experiments=("toward",), responses=("l2",), overrides={"model": {"source": "own"}}
    )
    build_report(folder, only_tables=True)
    assert "ublished" not in (run_path / "tables" / "toward-ms.md").read_text()


def tables_of(folder: RunFolder) -> dict[str, dict[str, tuple[str, ...]]]:
    """Title of each of the paper's tables to its rows, by their first cell; the columns under ````."""
    section = PaperTables(run_data.load(folder))
    return {
        table.title.split(":")[0]: {"": table.columns, **{row[0]: row[1:] for row in table.rows}}
        for table in section.tables()
    }


def test_the_papers_tables_by_hand(cliffs: RunFolder) -> None:
    # MS steps of 10 20 30 40, 30 40 50 60 and, of a kind that the paper has not, 100 100 50 60, both hundreds censored.
    # Means 25, 45, 77.5; squares about them 225 25 25 225, so an sd of sqrt(500 / 3) = 12.91, and of the last
    # 22.5² + 22.5² + 27.5² + 17.5² = 2075, sqrt(2075 / 3) = 26.30. Half of the first lies below all of the second, the
    # whole of it below all of the third.
    table = tables_of(cliffs)["Table 1"]
    assert table == {
        "": ("kind", "absolute: this run", "absolute: published"),
        "model-generated": ("25.00 ± 12.91", "41.11 ± 10.40"),
        "random": ("45.00 ± 12.91 (0.50)", "52.49 ± 10.21 (0.45)"),
        "synthetic-baseline": (DASH, "49.61 ± 13.25 (0.28)"),
        "synthetic-structured": (DASH, "43.48 ± 12.79 (0.11)"),
        "late": ("77.50 ± 26.30 (1.00)", DASH),
    }
    every = tables_of(cliffs)
    assert list(every) == [each.name for each in published.TABLES]
    assert list(every["Table D.1"]) == ["", "model-generated", "random", "sae-reconstruction"]
    assert every["Figure 3, as numbers"]["random"] == ("median 45 (0.50)", "median 9")
    assert every["Table B.2 by the rule of the paper's text"][""] == ("kind", "absolute: this run")


def test_absolute_and_relative_stand_side_by_side(gpt2: RunFolder) -> None:
    columns = ("absolute: this run", "absolute: published", "relative: this run", "relative: published")
    found = tables_of(gpt2)
    for name in ("Table A.1", "Table B.1", "Table B.2", "Table C.1", "Table D.1"):
        assert found[name][""] == ("kind", *columns)
    assert found["Table C.1"]["synthetic-baseline"][1::2] == ("54.79 ± 14.02 (0.32)", "62.41 ± 12.05 (0.32)")
    assert found["Table A.1"]["synthetic-random"] == (
        DASH,
        "51.30 ± 10.25 (0.39)",
        DASH,
        "55.25 ± 8.74 (0.19)",
    )
    assert list(found["Table D.1"]) == ["", "model-generated", "random", "sae-reconstruction"]


def test_numbers_of_the_papers_tables_are_plain_and_whole_in_the_csv(gpt2: RunFolder) -> None:
    build_report(gpt2, only_tables=True)
    read = pl.read_csv(gpt2.path / "tables" / "paper-tables.csv")
    samples = {each.kind: each.value for each in run_data.load(gpt2).samples[MS_ABSOLUTE]}
    rows = {
        row["kind"]: row for row in read.filter(table="Table A.1", schedule="absolute").iter_rows(named=True)
    }
    for kind in set(KINDS) - {"sae-reconstruction"}:
        assert rows[kind]["n"] == 5
        assert rows[kind]["mean"] == pytest.approx(np.nanmean(samples[kind]))
        assert rows[kind]["sd"] == pytest.approx(np.nanstd(samples[kind], ddof=1))
        assert rows[kind]["source"] == "arXiv 2409.15019v2, Table A.1"
    missing = rows["structured-without-cosine"]
    assert (missing["n"], missing["published_mean"], missing["published_ks"]) == (0, 50.17, 0.31)
    assert math.isnan(missing["mean"])
    # Every published number, whatever the run has.
    assert read.filter(pl.col("source") != "").height == sum(
        len(numbers) for table in published.TABLES for numbers in table.numbers.values()
    )


def test_of_another_model_the_published_numbers_are_labelled_so(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=2, experiments=("toward",), responses=("l2",), overrides={"model": {"source": "own"}}
    )
    section = PaperTables(run_data.load(folder))
    assert "absolute: published (another model: GPT-2 small)" in section.tables()[0].columns
    assert any("is of another set-up (own at blocks.1.hook_resid_pre" in note for note in section.notes())
    build_report(folder, only_tables=True)
    text = (run_path / "tables" / "paper-tables.md").read_text()
    assert "another model: GPT-2 small" in text
    assert "what the paper got on GPT-2 small" in text
    # Of KL and AP this run has nothing, and so no table.
    assert "Table C.1" not in text
    assert "Figure 3" not in text


def test_gpt2_at_another_site_is_another_set_up(run_path: Path) -> None:
    overrides = {"site": "blocks.2.hook_resid_pre"}
    folder = write_hills(run_path, pairs=2, experiments=("toward",), responses=("l2",), overrides=overrides)
    assert "absolute: published (another set-up)" in PaperTables(run_data.load(folder)).tables()[0].columns


def test_a_run_without_their_statistics_has_none_of_the_papers_tables(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=2, experiments=("from",), schedules=("relative",), responses=("l2",))
    report = build_report(folder, only_tables=True)
    assert not (run_path / "tables" / "paper-tables.csv").exists()
    assert any(
        reason.startswith("paper-tables: the run has none of the statistics") for reason in report.skipped
    )
