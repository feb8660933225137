"""Figures E.1 and E.2 and their tables: values by hand, the bound of the error, runs that lack the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp
from synthetic_runs import cliff, curve_rows, write_run

from plateau_lens import RunFolderError, load_config
from plateau_lens.activations.anatomy import BINS
from plateau_lens.report import run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.sections import codes
from plateau_lens.report.sections.registry import Drawing
from plateau_lens.runs.folder import RunFolder

EDGES = np.linspace(-1, 1, BINS + 1)


def row(
    kind: str | None,
    prompt: int,
    *,
    shares: Sequence[float],
    to_top: Sequence[float],
    among: Sequence[float],
    error: float = math.nan,
) -> dict[str, object]:
    """One row of ``latents/``."""
    return {
        "experiment": "codes",
        "kind": kind,
        "pair": 100 + prompt,
        "prompt": prompt,
        "error": error,
        "active": len(shares),
        "shares": list(shares),
        "to_top": list(to_top),
        "among": np.histogram(among, bins=EDGES)[0].tolist(),
        "mean_among": float(np.mean(among)) if among else math.nan,
    }


SCHEMA = {
    "experiment": pl.String,
    "kind": pl.String,
    "pair": pl.Int64,
    "prompt": pl.Int64,
    "error": pl.Float64,
    "active": pl.Int64,
    "shares": pl.List(pl.Float32),
    "to_top": pl.List(pl.Float32),
    "among": pl.List(pl.UInt32),
    "mean_among": pl.Float64,
}


def run_of(
    path: Path, rows: Sequence[Mapping[str, object]], *, kinds: Sequence[str], **report: object
) -> RunFolder:
    curves = [curve_rows("toward", kind, "absolute", {"l2": cliff([30, 40], 30.0)}) for kind in kinds]
    overrides = {
        "experiments": {"toward": {}, "codes": {}},
        "schedules": ["absolute"],
        "responses": ["l2"],
        "report": {"reconstruction_error": None, **report},
    }
    folder = write_run(path, curves, kinds=kinds, prompts=["a", "b"], overrides=overrides)
    manifest = folder.manifest()
    latents = folder.write_shard(1, latents=pl.DataFrame(rows, schema=SCHEMA))
    folder.write_manifest({**manifest, "shards": {**manifest["shards"], **latents}})
    return folder


BY_HAND = [
    row(None, 0, shares=[0.5, 0.3, 0.2], to_top=[0.105, 0.305], among=[0.105, 0.305, -0.195], error=0.1),
    row(None, 1, shares=[0.8, 0.2], to_top=[0.505], among=[0.505], error=0.3),
    row(None, 2, shares=[1.0], to_top=[], among=[], error=0.9),
    row("baseline", 0, shares=[0.5, 0.3, 0.2], to_top=[0.005, 0.105], among=[0.005, 0.105, -0.095]),
    row("baseline", 1, shares=[0.8, 0.2], to_top=[-0.295], among=[-0.295]),
    row("baseline", 2, shares=[1.0], to_top=[], among=[]),
]


def of(folder: RunFolder) -> dict[str, dict[str, float]]:
    frame = codes.CodesSection(run_data.load(folder)).frame
    return {each["kind"] or "real": each for each in frame.iter_rows(named=True)}


class TestNumbers:
    def test_by_hand(self, run_path: Path):
        found = of(run_of(run_path, BY_HAND, kinds=["random", "baseline"]))
        assert list(found) == ["real", "baseline"]
        real, made = found["real"], found["baseline"]
        # Three codes of 3, 2 and 1 active latents; first shares 0.5, 0.8, 1; two codes have a second latent.
        assert (real["n"], real["active_mean"], real["active_median"]) == (3, 2.0, 2.0)
        assert real["first_share"] == pytest.approx(2.3 / 3)
        assert real["second_share"] == pytest.approx(0.25)
        # Over all cosines, not over codes: (0.105 + 0.305 - 0.195 + 0.505) / 4, and (0.105 + 0.305 + 0.505) / 3.
        assert real["among_mean"] == pytest.approx(0.18)
        assert real["to_top_mean"] == pytest.approx(0.305)
        assert made["to_top_mean"] == pytest.approx((0.005 + 0.105 - 0.295) / 3)
        # With the top: real 0.105 0.305 0.505, made -0.295 0.005 0.105. Below 0.1 lie 0 and 2 of 3.
        assert made["to_top_ks"] == pytest.approx(2 / 3)
        # All pairs: real -0.195 0.105 0.305 0.505, made -0.295 -0.095 0.005 0.105: at 0.11 1/2 and 1, at 0.01 1/4, 3/4.
        assert made["among_ks"] == pytest.approx(0.5)
        # Mean over codes: (0.215 / 3 + 0.505) / 2.
        assert real["among_mean_of_codes"] == pytest.approx((0.215 / 3 + 0.505) / 2)
        assert real["to_top_mean_of_codes"] == pytest.approx((0.205 + 0.505) / 2)
        assert math.isnan(real["among_ks"])

    def test_distances_are_scipys_of_the_middles_of_the_bins(self, run_path: Path):
        rng = np.random.default_rng(0)
        rows, values = [], {}
        for kind, centre in ((None, 0.2), ("baseline", 0.1)):
            cosines = [rng.normal(centre, 0.2, rng.integers(2, 30)).clip(-1, 1) for _ in range(60)]
            values[kind] = np.concatenate(cosines)
            rows += [
                row(kind, i, shares=[0.6, 0.4], to_top=each.tolist(), among=each.tolist(), error=0.1)
                for i, each in enumerate(cosines)
            ]
        found = of(run_of(run_path, rows, kinds=["baseline"]))["baseline"]
        middles = [np.floor(values[kind] * 100) + 0.5 for kind in (None, "baseline")]
        wanted = ks_2samp(*middles, method="asymp").statistic  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("among", "to_top"):
            assert found[f"{name}_ks"] == pytest.approx(wanted)
            assert 0 < found[f"{name}_ks_low"] < wanted < found[f"{name}_ks_high"]
            assert found[f"{name}_mean"] == pytest.approx(values["baseline"].mean(), abs=1e-6)
            assert found[f"{name}_mean_low"] < found[f"{name}_mean"] < found[f"{name}_mean_high"]

    def test_the_same_codes_are_no_way_apart(self, run_path: Path):
        same = [{**each, "kind": "baseline"} for each in BY_HAND[:3]]
        found = of(run_of(run_path, [*BY_HAND[:3], *same], kinds=["baseline"]))["baseline"]
        assert (found["among_ks"], found["to_top_ks"]) == (0, 0)

    def test_codes_of_one_latent_have_no_cosine(self, run_path: Path):
        rows = [row(kind, 0, shares=[1.0], to_top=[], among=[], error=0.1) for kind in (None, "baseline")]
        found = of(run_of(run_path, rows, kinds=["baseline"]))["baseline"]
        names = ("second_share", "among_mean", "to_top_mean", "among_ks", "to_top_ks")
        assert all(math.isnan(found[name]) for name in names)
        assert found["first_share"] == 1


class TestBound:
    def test_leaves_out_prompts_of_every_kind(self, run_path: Path):
        folder = run_of(run_path, BY_HAND, kinds=["baseline"], reconstruction_error=0.2)
        found = of(folder)
        assert {each["n"] for each in found.values()} == {1}
        assert {each["active_mean"] for each in found.values()} == {3}
        assert found["baseline"]["to_top_mean"] == pytest.approx(0.055)
        for drawing in codes.CodesSection(run_data.load(folder)).drawings():
            assert isinstance(drawing, Drawing)
            assert "1 of 3 prompts" in drawing.caption
            assert "at most 0.2 |x - decoder bias| (median of all: 0.30)" in drawing.caption

    def test_of_one_fifth_unless_told(self, run_path: Path):
        assert load_config("smollm2-135m").report.reconstruction_error == 0.2
        section = codes.CodesSection(run_data.load(run_of(run_path, BY_HAND, kinds=["baseline"])))
        assert (section.found.bound, section.found.kept) == (None, 3)

    def test_that_no_activation_keeps(self, run_path: Path):
        folder = run_of(run_path, BY_HAND, kinds=["baseline"], reconstruction_error=0.05)
        with pytest.raises(
            RunFolderError, match=r"no activation .* error of 0\.05 or less \(the median is 0\.30\)"
        ):
            codes.CodesSection(run_data.load(folder))


class TestReport:
    def test_figures_and_tables_are_written(self, run_path: Path):
        folder = run_of(run_path, BY_HAND, kinds=["random", "baseline"])
        report = build_report(folder)
        assert {"figure-e1.png", "figure-e2.png"} <= {path.name for path in report.figures}
        text = (folder.path / "tables" / "codes.md").read_text()
        assert "| GPT-2, published | about 21 |" in text
        assert "All 3 prompts of the experiment" in text
        captions = (folder.path / "figures" / "captions.md").read_text()
        assert "dashed: the mean, 2.0" in captions

    def test_densities_have_an_area_of_1(self, run_path: Path):
        section = codes.CodesSection(run_data.load(run_of(run_path, BY_HAND, kinds=["baseline"])))
        _, drawing = section.drawings()
        assert isinstance(drawing, Drawing)
        for axes in drawing.figure.axes:
            outlines = [patch.get_data() for patch in axes.patches]  # pyright: ignore[reportAttributeAccessIssue]
            assert len(outlines) == 3
            for each in outlines:
                assert float((each.values * np.diff(each.edges)).sum()) == pytest.approx(1)

    def test_a_run_without_the_experiment(self, run_path: Path):
        curves = [curve_rows("toward", "random", "absolute", {"l2": cliff([30, 40], 30.0)})]
        table = {"experiments": ["toward"], "schedules": ["absolute"], "responses": ["l2"]}
        folder = write_run(run_path, curves, kinds=["random"], prompts=["a", "b"], overrides=table)
        report = build_report(folder, only_tables=True)
        assert "codes: the run has no codes latent by latent: add the experiment 'codes'" in report.skipped

    def test_a_kind_that_is_called_real(self, run_path: Path):
        rows = [*BY_HAND[:3], *({**each, "kind": "real"} for each in BY_HAND[3:])]
        section = codes.CodesSection(run_data.load(run_of(run_path, rows, kinds=["real"])))
        assert section.frame["kind"].to_list() == [None, "real"]
        assert section.frame["to_top_mean"].to_list() == pytest.approx([0.305, -0.185 / 3])

    def test_real_codes_alone(self, run_path: Path):
        folder = run_of(run_path, BY_HAND[:3], kinds=["random"])
        assert list(of(folder)) == ["real"]
        for drawing in codes.CodesSection(run_data.load(folder)).drawings():
            assert isinstance(drawing, Drawing)
            drawing.figure.draw_without_rendering()
            assert "a line: a synthetic kind" not in drawing.caption
