"""The experiment of codes: pairs of its own, no pass of the model, the codes of real activations and of made ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from plateau_lens import ConfigError, RunConfig, RunFolder, load_config, load_dictionary, run
from plateau_lens.execution import worker
from plateau_lens.execution.plan import plan
from plateau_lens.experiments import codes as experiment
from plateau_lens.models.suffix import SuffixEngine

KINDS = {
    "model-generated": {},
    "random": {},
    "synthetic-structured": {},
    "synthetic-baseline": {},
    "sae-reconstruction": {},
    "of-other": {"kind": "synthetic-structured", "code": "other"},
}
PAIRS, POPULATION = 3, 120


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random lines: quicker than to sample them from the model anew for every run."""
    letters = np.random.default_rng(0).choice(list("abcdefghijklmnop qrstuvwxyz "), size=(POPULATION, 40))
    path = tmp_path_factory.mktemp("prompts") / "lines.txt"
    path.write_text("".join(f"{''.join(line)}\n" for line in letters))
    return path


@pytest.fixture(scope="module")
def configure(tiny_model_folder: Path, tiny_sae_folder: Path, prompts: Path) -> Callable[..., RunConfig]:
    def make(**changes: Any) -> RunConfig:
        table = {
            "name": "tiny",
            "model": {"source": str(tiny_model_folder)},
            "prompts": {"source": str(prompts), "n_ctx": 6, "population": POPULATION},
            "sae": {"source": str(tiny_sae_folder)},
            "pairs": PAIRS,
            "n_steps": 10,
            "experiments": {"toward": {"schedules": ["relative"]}, "codes": {"prompts": 70}},
            "responses": ["l2"],
            "kinds": KINDS,
        }
        return load_config({**table, **changes})

    return make


@pytest.fixture(scope="module")
def finished(configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(configure(), tmp_path_factory.mktemp("codes") / "run", report=False)


def of(rows: pl.DataFrame, kind: str | None) -> pl.DataFrame:
    return rows.filter(pl.col("kind").eq_missing(pl.lit(kind, pl.String)))


class TestPlan:
    def test_prompts_from_the_first_on_and_pairs_behind_the_others(self, configure: Callable[..., RunConfig]):
        units = [unit for unit in plan(configure()) if unit.experiments == ("codes",)]
        assert [len(unit.pair) for unit in units] == [50, 20]
        assert [prompt for unit in units for prompt in unit.prompt] == list(range(70))
        assert [pair for unit in units for pair in unit.pair] == list(range(PAIRS, PAIRS + 70))
        assert [unit.lays_paths for unit in plan(configure())] == [True, False, False]

    def test_no_more_than_the_population(self, configure: Callable[..., RunConfig]):
        units = plan(configure(experiments=["codes"]))
        assert sum(len(unit.pair) for unit in units) == POPULATION
        assert {unit.lays_paths for unit in units} == {False}

    def test_without_an_sae(self, configure: Callable[..., RunConfig], tmp_path: Path):
        with pytest.raises(
            ConfigError, match=r"experiments\.codes is about SAE codes at the run's site; set sae"
        ):
            run(configure(sae=None, kinds=["random"]), tmp_path / "run")


class TestRows:
    def test_real_codes_once_and_every_kind_that_makes_codes(self, finished: RunFolder):
        rows = finished.latents()
        assert set(rows["experiment"]) == {"codes"}
        assert set(rows["kind"]) == {None, "synthetic-structured", "synthetic-baseline", "of-other"}
        for kind in set(rows["kind"]):
            assert of(rows, kind)["prompt"].to_list() == list(range(70))
            assert of(rows, kind)["pair"].to_list() == list(range(PAIRS, PAIRS + 70))

    def test_real_codes_are_those_of_the_prompts_own_activations(
        self, finished: RunFolder, configure: Callable[..., RunConfig]
    ):
        # The bases of the run's pairs are those of the first prompts.
        own = of(finished.latents(), None)
        (block,) = finished.activations()
        base = torch.from_numpy(block["base"])
        dictionary = load_dictionary(configure().sae.source)  # pyright: ignore[reportOptionalMemberAccess]
        code = dictionary.encode(base)
        assert own["active"][:PAIRS].to_list() == (code > 0).sum(dim=-1).tolist()
        top = (code.max(dim=-1).values / code.sum(dim=-1)).tolist()
        assert own["shares"].list.first()[:PAIRS].to_list() == pytest.approx(top)
        error = dictionary.reconstruction_error(base).tolist()
        assert own["error"][:PAIRS].to_list() == pytest.approx(error, rel=1e-5)

    def test_made_codes_have_no_error_and_keep_their_values(self, finished: RunFolder):
        rows = finished.latents()
        own = of(rows, None)
        assert own["error"].is_between(0, 2).all()
        for kind in ("synthetic-structured", "synthetic-baseline"):
            made = of(rows, kind)
            assert made["error"].is_nan().all()
            assert made["active"].to_list() == own["active"].to_list()
            np.testing.assert_allclose(
                made["shares"].list.explode().to_numpy(), own["shares"].list.explode().to_numpy(), rtol=1e-5
            )
        # Structured keeps the cosines with the top latent as far as it finds latents that have them.
        ours = {
            kind: of(rows, kind)["to_top"].explode().to_numpy() for kind in (None, "synthetic-structured")
        }
        assert np.corrcoef(ours[None], ours["synthetic-structured"])[0, 1] > 0.8

    def test_each_column_agrees_with_the_others(self, finished: RunFolder):
        for row in finished.latents().iter_rows(named=True):
            n = row["active"]
            assert len(row["to_top"]) == max(0, n - 1)
            assert len(row["shares"]) == min(10, n)
            assert sum(row["among"]) == n * (n - 1) // 2

    def test_the_rest_of_the_run_is_as_without(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        without = run(
            configure(experiments={"toward": {"schedules": ["relative"]}}), tmp_path / "run", report=False
        )
        assert without.curves().equals(finished.curves())
        assert without.codes().equals(finished.codes())
        assert without.steps().equals(finished.steps())
        assert not without.has("latents")


class TestWithoutAPass:
    def test_no_prefix_and_no_step(
        self, configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("the model was run")

        monkeypatch.setattr(SuffixEngine, "prefix", refuse)
        monkeypatch.setattr(SuffixEngine, "respond", refuse)
        folder = run(configure(experiments={"codes": {"prompts": 5}}), tmp_path / "run")
        assert folder.latents().height == 5 * 4
        assert [path.name for path in sorted(folder.path.glob("*/part-*"))] == ["part-00000.parquet"]
        assert folder.manifest()["engine_seconds"] == 0
        assert (folder.path / "report.html").is_file()
        with pytest.raises(AssertionError, match="the model was run"):
            run(configure(), tmp_path / "other")

    def test_progress_counts_pairs_and_codes_apart(self, configure: Callable[..., RunConfig], tmp_path: Path):
        told: list[tuple[str, int, int]] = []
        run(configure(), tmp_path / "run", report=False, progress=lambda *each: told.append(each))
        assert ("curves", PAIRS, PAIRS) in told
        assert [each for each in told if each[0] == "codes"] == [("codes", 50, 70), ("codes", 70, 70)]


class TestResuming:
    def test_what_is_whole_is_not_computed_again(
        self,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        copy = RunFolder.open(shutil.copytree(finished.path, tmp_path / "copy"))
        (copy.path / "latents/part-00002.parquet").write_bytes(b"damaged")
        computed: list[int] = []
        compute = worker.Worker.compute

        def counted(self: worker.Worker, unit: Any) -> Any:
            computed.append(unit.index)
            return compute(self, unit)

        monkeypatch.setattr(worker.Worker, "compute", counted)
        run(configure(), copy.path, report=False)
        assert computed == [2]
        assert copy.latents().equals(finished.latents())

    def test_two_workers_and_other_units_give_the_same(
        self,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr(experiment, "_PROMPTS_A_UNIT", 7)
        other = run(configure(unit_size=1), tmp_path / "run", report=False)
        assert len(list(other.path.glob("latents/*"))) == 10
        one, two = finished.latents(), other.latents()
        exact = ["experiment", "kind", "pair", "prompt", "active"]
        assert one.select(exact).equals(two.select(exact))
        for column in ("shares", "to_top"):
            np.testing.assert_allclose(
                one[column].explode().to_numpy(), two[column].explode().to_numpy(), atol=1e-5
            )
