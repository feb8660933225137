"""The ladder of controls: its order, its numbers, its figure."""

from __future__ import annotations

import io
import math
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
import pytest
from synthetic_runs import write_hills

from plateau_lens import RunFolderError
from plateau_lens.report import run_data
from plateau_lens.report.figures import style
from plateau_lens.report.figures.ladder import draw_ladder
from plateau_lens.report.sections import ladder
from plateau_lens.report.sections import summary as tables
from plateau_lens.report.sections.registry import Drawing, Skipped
from plateau_lens.runs.folder import RunFolder

KINDS = ("isotropic", "own", "model-generated", "sae-reconstruction", "random", "synthetic-structured")
SMALL = {"experiments": ("toward", "from"), "responses": ("l2",)}


def draw(data: run_data.RunData) -> Drawing | Skipped:
    (found,) = ladder.Ladder(data).drawings()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_hills(tmp_path_factory.mktemp("ladder"), pairs=240, kinds=KINDS, **SMALL)


def test_rungs_stand_in_the_configurations_order_and_controls_below(folder: RunFolder) -> None:
    frame = ladder.ladder(run_data.load(folder))
    for _, rows in ladder.parts(frame):
        assert rows["kind"].to_list() == [
            "another sample",
            "own",
            "sae-reconstruction",
            "synthetic-structured",
            "isotropic",
            "random",
        ]
        assert rows["place"].to_list() == ["top", *["rung"] * 3, *["control"] * 2]
    assert [group for group, _ in ladder.parts(frame)] == list(ladder.GROUPS)


def test_distances_are_the_summarys_and_random_has_no_realism(folder: RunFolder) -> None:
    data = run_data.load(folder)
    key = ["experiment", "statistic", "response", "schedule", "kind"]
    both = ladder.ladder(data).join(tables.summary(data), on=key, suffix="_summary")
    assert both.height == 10
    for name in ("ks", "ks_low", "ks_high", "wasserstein", "wasserstein_high"):
        assert both[name].to_list() == both[f"{name}_summary"].to_list()
    # What is left beyond noise is less, within the same interval.
    for name in ("ks", "wasserstein"):
        assert (both[f"excess_{name}"] < both[name]).all()
        assert (both[f"excess_{name}_low"] <= both[f"excess_{name}"]).all()
        assert both[f"excess_{name}_high"].to_list() == both[f"{name}_high"].to_list()
    random = both.filter(pl.col("kind") == "random", pl.col("experiment") == "from").row(0, named=True)
    assert (random["realism_ks"], random["realism_ks_low"], random["realism_ks_high"]) == pytest.approx(
        (0, 0, 0)
    )


def test_without_random_there_is_no_realism(run_path: Path) -> None:
    kinds = ("model-generated", "own", "isotropic", "sae-reconstruction")
    frame = ladder.ladder(run_data.load(write_hills(run_path, pairs=5, kinds=kinds, **SMALL)))
    assert not frame["ks"].is_nan().any()
    assert frame["realism_ks"].is_nan().all()


def test_figure_has_a_row_a_kind_from_the_top_down(folder: RunFolder) -> None:
    data = run_data.load(folder)
    drawing = draw(data)
    assert isinstance(drawing, Drawing)
    drawing.figure.draw_without_rendering()
    left = drawing.figure.axes[0]
    labels = [each.get_text() for each in left.get_yticklabels()]
    assert labels == ladder.ladder(data)["kind"].to_list()[:6]
    heights = left.get_yticks()
    assert left.yaxis_inverted()
    assert (np.diff(heights) > 0).all()
    # The gaps that set another sample and the controls apart.
    assert [math.isclose(gap, 1) for gap in np.diff(heights)] == [False, True, True, False, True]


def test_figure_fits_a_column_with_15_kinds(run_path: Path) -> None:
    kinds = ("model-generated", "random", *(f"a-kind-with-a-long-name-{i}" for i in range(13)))
    data = run_data.load(write_hills(run_path, pairs=3, kinds=kinds, **SMALL))
    drawing = draw(data)
    assert isinstance(drawing, Drawing)
    figure = drawing.figure
    figure.draw_without_rendering()
    texts = [each for each in figure.findobj(matplotlib.text.Text) if each.get_text().strip()]
    assert min(each.get_fontsize() for each in texts) >= style.LEAST_TEXT
    assert figure.get_figwidth() == style.COLUMN_WIDTH
    assert all(axes.get_position().width > 0.1 for axes in figure.axes[::2])


def test_figure_is_the_same_bytes_again(folder: RunFolder) -> None:
    written: list[bytes] = []
    for _ in range(2):
        data = run_data.load(folder)
        drawing = draw(data)
        assert isinstance(drawing, Drawing)
        for form in ("png", "pdf"):
            stream = io.BytesIO()
            style.save(drawing.figure, stream, form)
            written.append(stream.getvalue())
    assert written[:2] == written[2:]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"kinds": ("model-generated", "random")}, "needs 3 kinds besides model-generated; the run has 1"),
        ({"kinds": ("random", "own", "isotropic", "other")}, "no model-generated kind"),
        ({"experiments": ("toward",), "schedules": ("absolute",)}, "no MS step of L2, relative schedule"),
    ],
)
def test_what_has_no_ladder_says_why(run_path: Path, overrides: dict[str, object], reason: str) -> None:
    data = run_data.load(write_hills(run_path, **{"pairs": 3, **SMALL, **overrides}))
    try:
        found = draw(data)
    except RunFolderError as error:
        found = Skipped("ladder", str(error))
    assert isinstance(found, Skipped)
    assert reason in found.reason


def test_a_kind_that_one_experiment_leaves_out_has_a_row_that_is_empty_there(folder: RunFolder) -> None:
    data = run_data.load(folder)
    (_, toward), (_, whole) = ladder.parts(ladder.ladder(data))
    fewer = whole.filter(pl.col("kind") != "own")
    for panels in ([("toward", toward), ("from", fewer)], [("from", fewer), ("toward", toward)]):
        figure = draw_ladder(panels, style.kind_styles(data.kinds), random="random")
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert sorted(labels) == sorted(toward["kind"].to_list())
        assert labels[-2:] == ["isotropic", "random"]
        drawn = {title: axes for (title, _), axes in zip(panels, figure.axes[::2], strict=True)}
        marks = {
            title: sum(line.get_marker() != "None" for line in axes.lines) for title, axes in drawn.items()
        }
        assert (marks["toward"], marks["from"]) == (6, 5)


def test_many_rungs_are_as_wide_as_the_page_and_parted_from_the_controls_alone(folder: RunFolder) -> None:
    data = run_data.load(folder)
    ((_, whole), *_) = ladder.parts(ladder.ladder(data))
    (rung,) = whole.filter(pl.col("place") == "rung")[:1].to_dicts()
    more = [{**rung, "kind": f"rung {number:02}"} for number in range(30)]
    tall = pl.concat([whole, pl.DataFrame(more, schema=whole.schema)])
    styles = style.kind_styles([*data.kinds, *(row["kind"] for row in more)])
    few, many = (draw_ladder([("all", rows)], styles, random="random") for rows in (whole, tall))
    assert few.get_figwidth() == style.COLUMN_WIDTH
    assert many.get_figwidth() == style.PAGE_WIDTH
    for figure in (few, many):
        across = [
            line
            for line in figure.axes[0].lines
            if len(set(line.get_ydata())) == 1 and line.get_linewidth() == 0.5
        ]
        assert len(across) == 2
