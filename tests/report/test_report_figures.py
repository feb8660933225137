from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import drawn_figures as figures
import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from synthetic_runs import KINDS, cliff, curve_rows, write_hills, write_run

from plateau_lens.report import run_data
from plateau_lens.report.figures import style
from plateau_lens.report.figures.distributions import Row, draw_distributions
from plateau_lens.report.paper_kinds import FOUR, labels_of, own_labels
from plateau_lens.report.run_data import Sample
from plateau_lens.report.sections import distributions, examples, sensitivity
from plateau_lens.report.sections.registry import MOST_KINDS, Drawing, Skipped
from plateau_lens.runs.folder import RunFolder

STYLES = style.kind_styles(["model-generated", "random", "late"])


def sample(kind: str, values: list[float], censored: list[bool] | None = None) -> Sample:
    return Sample(kind, np.array(values), np.array(censored or [False] * len(values)))


def drawn(figure: Figure) -> list[str]:
    """Render it, as saving would, and return every text it shows."""
    figure.draw_without_rendering()
    return [each.get_text() for each in figure.findobj(matplotlib.text.Text) if each.get_text().strip()]


def test_cumulative_ends_below_one_by_the_censored_share() -> None:
    row = Row((sample("model-generated", [10, 20, 30, 100], [False, False, False, True]),), "MS step")
    figure = draw_distributions([row], STYLES)
    (line,) = [line for line in figure.axes[1].get_lines() if line.get_label() == "model-generated"]
    x, y = (np.asarray(each) for each in line.get_data())
    assert [y[x == n][0] for n in (9, 10, 19, 20, 29, 30)] == [0, 0.25, 0.25, 0.5, 0.5, 0.75]
    assert y[-1] == 0.75
    assert "model-generated (n = 4, 25 % cens.)" in drawn(figure)


def test_histogram_counts_the_pairs_that_are_seen_and_bins_are_shared() -> None:
    samples = (
        sample("model-generated", [10, 12, 30, 40]),
        sample("random", [50, 60, np.nan, 70], [False, False, True, False]),
    )
    figure = draw_distributions([Row(samples, "MS step")], STYLES)
    outlines = [patch.get_data() for patch in figure.axes[0].patches if not patch.get_fill()]
    assert [sum(each.values) for each in outlines] == [4, 3]
    assert np.array_equal(outlines[0].edges, outlines[1].edges)


def test_nothing_seen_is_said_and_not_drawn_as_zero() -> None:
    row = Row((sample("late", [np.nan, 100.0], [True, True]),), "MS step")
    assert "no event seen: all censored" in drawn(draw_distributions([row], STYLES))


def test_one_row_of_panels_a_schedule() -> None:
    row = Row((sample("random", [40.0]),), "MS step", title="absolute schedule")
    figure = draw_distributions([row, row], STYLES)
    assert len([axes for part in figure.subfigs for axes in part.axes]) == 4
    assert drawn(figure).count("absolute schedule") == 2


def test_kinds_differ_in_colour_and_without_it() -> None:
    paper = style.kind_styles(run_data.PAPER_ORDER)
    assert len({each.colour for each in paper.values()}) == len(run_data.PAPER_ORDER)
    assert len({each.dash for each in paper.values()}) == len(run_data.PAPER_ORDER)
    assert len({each.marker for each in paper.values()}) == len(run_data.PAPER_ORDER)
    many = style.kind_styles(["random", *(f"own-{i}" for i in range(40))])
    assert len(set(many.values())) == 41
    assert many["random"] == paper["random"]


# How linear RGB looks to readers without one of the three cones: Machado, Oliveira and Fernandes (2009), severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def as_seen(colour: str, vision: str) -> np.ndarray:
    """CIE L*a*b* of a colour (D65)."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISIONS[vision]) @ linear, 0, 1)
    xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    x, y, z = (
        np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116
        for v in np.array(xyz) @ linear / [0.95047, 1.0, 1.08883]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
def test_the_papers_kinds_are_apart_for_colour_blind_readers(vision: str) -> None:
    # 2.3 is a difference that is just seen, side by side; thin lines apart from one another need ten times that.
    seen = {
        kind: as_seen(each.colour, vision) for kind, each in style.kind_styles(run_data.PAPER_ORDER).items()
    }
    least = min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(seen, 2))
    assert least > 20
    assert np.linalg.norm(seen["random"] - seen["synthetic-structured"]) > 30
    if vision == "normal":
        assert all(lightness < 75 for lightness, _, _ in seen.values()), "to be seen on white"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("_private", " _private"),
        ("$5\nmore", r"\$5↵more"),
        ("日本", "\N{REPLACEMENT CHARACTER}" * 2),
        ("x" * 40, "x" * 31 + "…"),
        ("\ufeffa\u202eb\x00c\x1bd", "abcd"),
    ],
)
def test_text_from_data_is_made_fit_to_draw(text: str, shown: str) -> None:
    assert style.drawable(text) == shown


def test_a_long_prompt_shows_its_end() -> None:
    with style.paper_style():
        shown = style.drawable_end("start " + "word " * 200 + "end $", 3.0)
    assert shown.startswith("…")
    assert shown.endswith(r"end \$")
    assert len(shown) < 80


def test_figures_of_prompts_with_marks_that_are_not_seen_are_saved_in_every_form(run_path: Path) -> None:
    folder = example_run(run_path, prompts=["\ufefffirst", "sec\u202eond\x1b\U0001f600"])
    for drawing in examples.draw(run_data.load(folder), "examples"):
        assert isinstance(drawing, Drawing)
        for form in ("png", "pdf", "svg"):
            style.save(drawing.figure, io.BytesIO(), form)


def example_run(
    path: Path, *, prompts: tuple[str, ...] | list[str] = ("first $x\ny", "second"), **overrides: object
) -> RunFolder:
    values = {"l2": cliff([20, 30, 40, 50], 30.0), "kl": cliff([20, 30, 40, 50], 5.0)}
    curves = curve_rows("examples", "model-generated", "absolute", values, last=60, prompt=[0, 0, 1, 1])
    return write_run(
        path,
        [curves],
        kinds=("model-generated",),
        prompts=list(prompts),
        overrides={
            "experiments": ["examples"],
            "examples": {"kinds": ["model-generated"]},
            "responses": ["l2", "kl"],
            **overrides,
        },
    )


def test_the_grid_marks_ms_steps_and_their_mean(run_path: Path) -> None:
    (_, drawing) = examples.draw(run_data.load(example_run(run_path)), "examples")
    assert isinstance(drawing, Drawing)
    axes = drawing.figure.axes
    assert len(axes) == 4
    dots = [line for line in axes[0].get_lines() if line.get_linestyle() == "None" and len(line.get_xdata())]
    assert np.asarray(dots[0].get_xdata()).tolist() == [20, 30]
    assert np.asarray(dots[0].get_ydata()).tolist() == [30, 30]
    mean = [line for line in axes[0].get_lines() if list(line.get_xdata()) == [25.0, 25.0]]
    assert len(mean) == 1
    # Two curves, each in two parts: up to the last usable step, and faintly behind it.
    parts = [line for line in axes[0].get_lines() if len(line.get_xdata()) > 2]
    assert sorted({float(line.get_alpha() or 1) for line in parts}) == [0.18, 0.75]
    assert {max(line.get_xdata()) for line in parts} == {60, 100}
    texts = drawn(drawing.figure)
    assert r"first \$x↵y" in texts
    assert "second" in texts
    assert "KL divergence (nats)" in texts


def test_the_grid_shows_no_more_bases_than_fit(run_path: Path) -> None:
    bases = examples.MOST_BASES + 2
    curves = curve_rows(
        "examples", "random", "relative", {"l2": cliff([30] * bases, 30.0)}, prompt=list(range(bases))
    )
    overrides = {"experiments": ["examples"], "examples": {"kinds": ["random"]}, "responses": ["l2"]}
    folder = write_run(run_path, [curves], kinds=("random",), prompts=["p"] * bases, overrides=overrides)
    (_, drawing) = examples.draw(run_data.load(folder), "examples")
    assert isinstance(drawing, Drawing)
    assert len(drawing.figure.axes) == examples.MOST_BASES
    assert f"The first {examples.MOST_BASES} of {bases} bases" in drawing.caption
    assert "relative schedule" in drawing.caption


def paths_run(path: Path, *, schedules: tuple[str, ...] = ("absolute",), **of_toward: object) -> RunFolder:
    """Of both kinds: two bases of two targets each, and two pairs toward, which end at step 30."""
    curves: list[pl.DataFrame] = []
    for kind, late in (("model-generated", 0), ("random", 20)):
        shown = {name: cliff([20 + late, 90, 30 + late, 90], 30.0) for name in ("l2", "kl")}
        curves.append(curve_rows("examples", kind, "absolute", shown, prompt=[0, 0, 1, 1]))
        pairs = {name: cliff([20 + late, 40 + late], 30.0) for name in ("l2", "kl")} | of_toward
        curves += [curve_rows("toward", kind, schedule, pairs, last=30) for schedule in schedules]
    return write_run(
        path,
        curves,
        kinds=("model-generated", "random"),
        prompts=["first", "second"],
        overrides={
            "experiments": {"examples": {}, "toward": {"schedules": list(schedules)}},
            "responses": ["l2", "kl"],
        },
    )


def test_figure_1_shows_a_path_a_base_and_kind_and_the_mean_of_all_pairs(run_path: Path) -> None:
    drawing, _ = examples.draw(run_data.load(paths_run(run_path)), "examples")
    assert isinstance(drawing, Drawing)
    assert len(drawing.figure.axes) == 2
    colours = {kind: style.kind_styles([kind])[kind].colour for kind in ("model-generated", "random")}
    for axes in drawing.figure.axes:
        lines = axes.get_lines()
        dots = {
            line.get_color(): list(line.get_xdata())
            for line in lines
            if line.get_marker() != "None" and len(line.get_xdata())
        }
        # The first target of each of the two bases: not the ones at 90.
        assert dots == {colours["model-generated"]: [20, 30], colours["random"]: [40, 50]}
        means = {
            line.get_color(): np.asarray(line.get_ydata()) for line in lines if line.get_linestyle() == "--"
        }
        assert set(means) == set(colours.values())
        # Cliffs of 30 at 20 and 40: half of 30 between them, whole behind both, though the paths end at 30 already.
        assert [means[colours["model-generated"]][n] for n in (0, 19, 20, 39, 40, 100)] == [
            0,
            0,
            15,
            15,
            30,
            30,
        ]
        assert [means[colours["random"]][n] for n in (39, 40, 60)] == [0, 15, 30]
        assert not [line for line in lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert "all 2 and 2 paths of experiment 'toward'" in drawing.caption
    assert "random (mean of 2)" in drawn(drawing.figure)


def test_figure_1_has_no_mean_of_another_schedule_than_its_paths(run_path: Path) -> None:
    drawing, _ = examples.draw(run_data.load(paths_run(run_path, schedules=("relative",))), "examples")
    assert isinstance(drawing, Drawing)
    assert not [
        line for axes in drawing.figure.axes for line in axes.get_lines() if line.get_linestyle() == "--"
    ]
    assert "No mean is drawn" in drawing.caption


def test_a_mean_curve_is_over_finite_curves_whatever_the_blocks(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_hills(run_path, pairs=7, experiments=("toward",), responses=("l2",))
    data = run_data.load(folder)
    (curves,) = (each for each in data.curves("toward", "absolute", "l2") if each.kind == "random")
    plain = [sum(float(curve[n]) for curve in curves.response) / 7 for n in range(101)]
    whole = data.mean_curve("random", "toward", "absolute", "l2")
    assert whole.n == 7
    assert whole.response == pytest.approx(plain, rel=1e-12)
    (block,) = folder.curve_blocks()
    rows = block.collect()
    parts = [
        rows.filter(pl.col("pair") < 3),
        rows.filter(pl.col("pair").is_between(3, 5)),
        rows.filter(pl.col("pair") > 5),
    ]
    monkeypatch.setattr(RunFolder, "curve_blocks", lambda _: (part.lazy() for part in parts))
    split = data.mean_curve("random", "toward", "absolute", "l2")
    assert split.response == pytest.approx(plain, rel=1e-12)
    # One of the last part's point is not finite: its curve is left out at every step, not at that one alone.
    spoiled = [*curves.response[6]]
    spoiled[50] = np.inf
    parts[2] = parts[2].with_columns(pl.Series("l2", [spoiled] * parts[2].height, dtype=pl.List(pl.Float32)))
    left = data.mean_curve("random", "toward", "absolute", "l2")
    assert left.n == 6
    assert left.response == pytest.approx(curves.response[:6].astype(float).mean(axis=0), rel=1e-12)
    assert np.isnan(data.mean_curve("nobody", "toward", "absolute", "l2").response).all()


SUBSETS = [
    {"experiments": ("toward",), "schedules": ("absolute",), "responses": ("l2",), "kinds": ("random",)},
    {"experiments": ("from",), "schedules": ("relative",), "responses": ("l2",), "kinds": ("mine", "_own")},
    {"experiments": ("examples",), "responses": ("l2", "js")},
    {
        "experiments": ("toward", "examples"),
        "schedules": ("relative",),
        "responses": ("l2", "kl"),
        "pairs": 1,
    },
]


@pytest.mark.parametrize("subset", SUBSETS)
def test_any_subset_draws_what_it_can_and_says_why_not(run_path: Path, subset: dict) -> None:
    data = run_data.load(write_hills(run_path, **{"pairs": 2, **subset}))
    every = list(figures.drawings(data))
    made = [each for each in every if isinstance(each, Drawing)]
    assert made
    assert all(each.reason for each in every if isinstance(each, Skipped))
    for each in made:
        assert each.caption
        assert drawn(each.figure)


def test_a_figure_of_two_schedules_keeps_the_one_the_run_has(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=2, schedules=("relative",), experiments=("toward",), responses=("l2",)
    )
    (spec,) = (each for each in distributions.DISTRIBUTIONS if each.name == "figure-b1")
    drawing = distributions.draw(run_data.load(folder), spec)
    assert isinstance(drawing, Drawing)
    assert len(drawing.figure.axes) == 2
    assert "relative schedule" in drawing.caption


@pytest.mark.parametrize("with_the_papers", [True, False])
def test_of_many_kinds_a_figure_shows_few_and_says_so(run_path: Path, with_the_papers: bool) -> None:
    more = tuple(f"rung-{i}" for i in range(10))
    kinds = (*KINDS, *more) if with_the_papers else more
    data = run_data.load(write_hills(run_path, pairs=3, responses=("l2",), kinds=kinds))
    fours = {spec.name for spec in distributions.DISTRIBUTIONS if not spec.exactly}
    seen = 0
    for each in figures.drawings(data):
        if isinstance(each, Drawing) and (said := re.search(r"Shown are (\d+) of (\d+) kinds", each.caption)):
            texts = " ".join(drawn(each.figure))
            shown = {kind for kind in kinds if re.search(rf"{kind}\s\(?n = ", texts)}
            assert said.groups() == (str(len(shown)), str(len(kinds))), each.name
            assert each.caption.endswith("the tables have all.")
            if each.name in fours:
                assert shown == set(FOUR if with_the_papers else more[:MOST_KINDS]), each.name
                seen += 1
    assert seen >= 5


def test_a_figure_of_the_paper_shows_its_kinds_and_those_that_the_paper_has_not(run_path: Path) -> None:
    kinds = (*KINDS, "synthetic-random", "mine")
    data = run_data.load(
        write_hills(run_path, pairs=3, responses=("l2",), experiments=("toward",), kinds=kinds)
    )
    specs = {spec.name: spec for spec in distributions.DISTRIBUTIONS}
    shown = {name: set(distributions.shown_kinds(data, specs[name])) for name in ("figure-2", "figure-d1")}
    assert shown["figure-2"] == {*FOUR, "mine"}
    assert shown["figure-d1"] == {"model-generated", "random", "sae-reconstruction"}
    drawing = distributions.draw(data, specs["figure-2"])
    assert isinstance(drawing, Drawing)
    assert drawing.caption.endswith(" Shown are 5 of 7 kinds; the tables have all.")
    four = run_data.load(write_hills(run_path / "four", pairs=3, responses=("l2",), kinds=FOUR))
    assert all(
        "Shown are" not in each.caption for each in figures.drawings(four) if isinstance(each, Drawing)
    )
    without = distributions.draw(four, specs["figure-d1"])
    assert isinstance(without, Skipped)
    assert without.reason.endswith("the run has no sae-reconstruction")


def test_labels_stand_for_the_kinds_that_they_are(run_path: Path) -> None:
    kinds = {
        "real": {"kind": "model-generated"},
        "random": {},
        "wide": {"kind": "synthetic-structured", "neighbours": 200},
        "narrow": {"kind": "synthetic-structured", "neighbours": 50},
        "mine": {"kind": "latent-swap"},
    }
    folder = write_hills(
        run_path,
        pairs=2,
        responses=("l2",),
        experiments=("toward",),
        kinds=tuple(kinds),
        overrides={"kinds": kinds},
    )
    data = run_data.load(folder)
    assert set(labels_of(data, FOUR)) == {"real", "random", "wide", "narrow"}
    assert own_labels(data) == ("mine",)


def test_sensitivity_figure_leaves_out_distances_without_a_reference(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=3, experiments=("from",), responses=("l2",), kinds=("random", "mine")
    )
    data = run_data.load(folder)
    drawing = next(sensitivity.Sensitivity(data).drawings())
    assert isinstance(drawing, Drawing)
    assert len(drawing.figure.axes) == 1
    line = drawing.figure.axes[0].get_lines()[0]
    assert len(line.get_xdata()) == len(sensitivity.FACTORS)


def test_sensitivity_figure_hollows_medians_that_are_bounds(cliffs: RunFolder) -> None:
    data = run_data.load(cliffs)
    frame = sensitivity.ap_sensitivity(data)
    # Every curve ends at 30: the thresholds 40, 56.6 and 80 are never reached.
    assert frame.filter(pl.col("threshold") > 30)["censored"].to_list() == [1.0] * 18
    drawing = next(sensitivity.Sensitivity(data).drawings())
    assert isinstance(drawing, Drawing)
    hollow = [line for line in drawing.figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [3, 3, 3]


def test_no_text_is_too_small_and_no_figure_too_wide(run_path: Path) -> None:
    experiments = ("toward", "from", "at-end", "examples")
    data = run_data.load(write_hills(run_path, pairs=4, responses=("l2", "kl"), experiments=experiments))
    made = [each for each in figures.drawings(data) if isinstance(each, Drawing)]
    assert set(figures.OF_ANY_WHOLE_RUN) <= {each.name for each in made}
    for each in made:
        drawn(each.figure)
        texts = [t for t in each.figure.findobj(matplotlib.text.Text) if t.get_text().strip()]
        assert min(text.get_fontsize() for text in texts) >= style.LEAST_TEXT, each.name
        assert each.figure.get_figwidth() <= style.PAGE_WIDTH


def test_saved_figures_are_the_same_bytes_and_hold_their_fonts() -> None:
    row = Row((sample("random", [40.0, 50.0]),), "MS step")
    written: list[bytes] = []
    for form, _ in itertools.product(("pdf", "svg", "png"), range(2)):
        stream = io.BytesIO()
        style.save(draw_distributions([row], STYLES), stream, form)
        written.append(stream.getvalue())
    assert written[0] == written[1]
    assert written[2] == written[3]
    assert written[4] == written[5]
    assert b"CreationDate" not in written[0]
    assert b"/FontFile2" in written[0]


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    row = Row((sample("random", [40.0]),), "MS step")
    style.save(draw_distributions([row], STYLES), io.BytesIO(), "png")
    assert dict(matplotlib.rcParams) == before
