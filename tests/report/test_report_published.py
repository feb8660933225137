from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from synthetic_runs import write_hills

from plateau_lens.report import published, run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.run_data import Group
from plateau_lens.report.sections import summary as tables
from plateau_lens.runs.config import load_config
from plateau_lens.runs.folder import RunFolder

MS_RELATIVE = Group("toward", "ms", "l2", "relative")
MS_ABSOLUTE = Group("toward", "ms", "l2", "absolute")
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
    assert published.beside(config, MS_RELATIVE) == []


def test_a_group_on_another_scale_has_nothing_beside_it() -> None:
    halved = load_config("gpt2-paper", {"step_size": 0.25})
    assert published.beside(halved, MS_ABSOLUTE) == []
    assert published.beside(halved, MS_RELATIVE)
    threshold = load_config("gpt2-paper", {"statistics.ap_threshold": 10.0})
    assert published.beside(threshold, AP_FROM) == []
    assert published.beside(load_config("gpt2-paper"), AP_FROM)
    # 100/99 of 0.5 a step, as in the notebooks.
    assert published.beside(load_config("gpt2-paper", {"convention": "notebook"}), MS_ABSOLUTE)


def test_kinds_are_matched_by_what_they_are_not_by_their_label() -> None:
    kinds = {
        "real": {"kind": "model-generated"},
        "free": {"kind": "synthetic-baseline", "match": "none"},
        "synthetic-baseline": {"neighbours": 3},
    }
    config = load_config("gpt2-paper", {"kinds": kinds, "experiments": ["toward"]})
    found = dict(published.beside(config, MS_RELATIVE))
    assert {label: each.mean for label, each in found.items()} == {"real": 51.60, "free": 55.25}


def test_published_values_stand_in_the_tables_with_their_source(gpt2: RunFolder) -> None:
    build_report(gpt2, only_tables=True)
    markdown = (gpt2.path / "tables" / "toward-ms.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| sae-reconstruction ")]
    # L2 absolute, L2 relative, KL absolute, KL relative; nothing was published of the last two.
    assert [line.split(" | ")[-2:] for line in rows] == [
        ["41.38 ± 11.23", "0.01 |"],
        ["53.34 ± 8.39", "0.11 |"],
        *[["\N{EN DASH}", "\N{EN DASH} |"]] * 2,
    ]
    latex = (gpt2.path / "tables" / "toward-ms.tex").read_text()
    assert r"41.38 $\pm$ 11.23 & 0.01 \\" in latex
    ap = (gpt2.path / "tables" / "from-ap.md").read_text()
    assert "| median 16 |" in ap
    assert "read off a figure" in ap
    for text in (markdown, latex, ap):
        assert "jettjaniak/teren" in text
    assert "published" not in (gpt2.path / "tables" / "toward-ap.md").read_text()


def test_published_csv_has_both_numbers_a_row(gpt2: RunFolder) -> None:
    build_report(gpt2, only_tables=True)
    read = pl.read_csv(gpt2.path / "tables" / "published.csv")
    # Every published number but those of kinds that this run does not have.
    assert read.height == sum(each.kind in gpt2.config().kinds for each in published.VALUES)
    assert read["source"].str.contains("jettjaniak/teren").all()
    row = read.filter(pl.col("kind") == "random", pl.col("note") == "rerun").row(0, named=True)
    assert (row["published_mean"], row["published_sd"], row["published_ks"]) == (64.89, 10.5, 0.62)
    summary = tables.summary(run_data.load(gpt2))
    (ours,) = summary.filter(
        *(pl.col(name) == value for name, value in MS_RELATIVE._asdict().items()), pl.col("kind") == "random"
    ).iter_rows(named=True)
    # On the relative schedule, the plain numbers are the tables'.
    assert row["n"] == ours["n"]
    assert row["mean"] == pytest.approx(ours["mean"]) == pytest.approx(ours["plain_mean"])
    assert row["ks"] == pytest.approx(ours["ks"])
    group = Group("toward", "ms", "l2", "absolute")
    plain = {each.kind: each.value for each in run_data.load(gpt2).samples[group]}["random"]
    rows = read.filter(*(pl.col(name) == value for name, value in group._asdict().items()))
    assert rows.filter(pl.col("kind") == "random")["mean"].to_list() == pytest.approx([np.nanmean(plain)])
    ap = read.filter(pl.col("statistic") == "ap")
    assert sorted(ap["published_median"].to_list()) == [6, 8, 9, 16]
    assert all(math.isnan(mean) for mean in ap["published_mean"].to_list())


def test_another_model_gets_no_published_file(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=2, experiments=("toward",), responses=("l2",), overrides={"model": {"source": "own"}}
    )
    build_report(folder, only_tables=True)
    assert not (run_path / "tables" / "published.csv").exists()
    assert "published" not in (run_path / "tables" / "toward-ms.md").read_text()
