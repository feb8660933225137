"""Experiments at a site of their own: what is pushed there, what is measured, and that the rest of a run stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from plateau_lens import ConfigError, RunConfig, RunFolder, load_config, load_model, run
from plateau_lens.cli import invoke

PAIRS, N_STEPS, FITTED = 12, 20, 5
END = "blocks.3.hook_resid_post"
EXPERIMENTS = {
    "toward": {},
    "from": {"schedules": ["absolute"], "kinds": ["random"]},
    "at-end": {"fitted_to": FITTED},
}


@pytest.fixture(scope="module")
def configure(tiny_model_folder: Path, tiny_sae_folder: Path) -> Callable[..., RunConfig]:
    """Every prompt is a pair's, so that all activations that targets come from are known."""

    def make(**changes: Any) -> RunConfig:
        table = {
            "name": "tiny",
            "model": {"source": str(tiny_model_folder)},
            "prompts": {"source": "sampled", "n_ctx": 6, "population": PAIRS},
            "sae": {"source": str(tiny_sae_folder)},
            "pairs": PAIRS,
            "unit_size": 5,
            "n_steps": N_STEPS,
            "responses": ["l2", "kl"],
            "kinds": ["model-generated", "random", "synthetic-baseline"],
            "experiments": EXPERIMENTS,
        }
        return load_config({**table, **changes})

    return make


@pytest.fixture(scope="module")
def finished(configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(configure(), tmp_path_factory.mktemp("end") / "run", report=False, force=True)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_model(str(tiny_model_folder)).model


def stored(folder: RunFolder, name: str) -> np.ndarray:
    """Activations [pair, d_model] of one name, as float64."""
    return np.concatenate([block[name] for block in folder.activations()]).astype(np.float64)


def responses_of(folder: RunFolder, response: str, **where: str) -> np.ndarray:
    return np.array(folder.curves(**where).sort("pair")[response].to_list())


def last_blocks_output(model: Any, tokens: torch.Tensor) -> np.ndarray:
    """Of the last token, by a hook of our own on the whole model's pass."""
    seen: list[torch.Tensor] = []
    handle = model.model.layers[3].register_forward_hook(
        lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    try:
        with torch.no_grad():
            model(tokens, use_cache=False)
    finally:
        handle.remove()
    return seen[0][:, -1].double().numpy()


class TestWhatIsPushed:
    def test_bases_are_the_last_blocks_output(self, finished: RunFolder, model: Any):
        tokens = torch.tensor(finished.prompts().sort("pair")["tokens"].to_list())
        wanted = last_blocks_output(model, tokens)
        np.testing.assert_allclose(stored(finished, "base.at-end"), wanted, rtol=0, atol=1e-4)

    def test_model_generated_targets_are_of_the_same_other_prompt(self, finished: RunFolder):
        base, end = stored(finished, "base"), stored(finished, "base.at-end")
        targets = stored(finished, "target.toward.model-generated")
        others = [int(np.abs(base - target).sum(axis=1).argmin()) for target in targets]
        assert sorted(others) == list(range(PAIRS))
        found = stored(finished, "target.at-end.model-generated")
        np.testing.assert_allclose(found, end[others], rtol=0, atol=1e-4)

    def test_random_is_fitted_to_the_first_prompts_there(self, finished: RunFolder):
        # A draw is the mean plus a combination of the rows that it is fitted to: it lies in their affine span of
        # FITTED - 1 dimensions, which hardly any other activation does.
        rows = stored(finished, "base.at-end")[:FITTED]
        axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][: FITTED - 1]

        def outside(points: np.ndarray) -> np.ndarray:
            apart = points - rows.mean(axis=0)
            return np.linalg.norm(apart - apart @ axes.T @ axes, axis=1) / np.linalg.norm(apart, axis=1)

        drawn = stored(finished, "target.at-end.random")
        assert outside(drawn).max() < 1e-5
        assert outside(stored(finished, "base.at-end")[FITTED:]).min() > 0.1
        assert len(np.unique(drawn.round(4), axis=0)) == PAIRS

    def test_random_draws_at_two_sites_are_independent(self, finished: RunFolder, configure: Any):
        # With one generator for both, the weights of the first rows would be the same numbers.
        end = stored(finished, "base.at-end")
        weights = np.linalg.lstsq(
            (end[:FITTED] - end[:FITTED].mean(axis=0)).T,
            (stored(finished, "target.at-end.random") - end[:FITTED].mean(axis=0)).T,
            rcond=None,
        )[0]
        base = stored(finished, "base")
        others = np.linalg.lstsq(
            (base - base.mean(axis=0)).T,
            (stored(finished, "target.toward.random") - base.mean(axis=0)).T,
            rcond=None,
        )[0][:FITTED]
        weights, others = (each - each.mean(axis=0) for each in (weights, others))
        assert abs(np.corrcoef(weights.ravel(), others.ravel())[0, 1]) < 0.5


class TestWhatIsMeasured:
    def test_curves_are_kl_through_the_final_norm_and_unembedding(self, finished: RunFolder, model: Any):
        for kind in ("model-generated", "random"):
            base = torch.from_numpy(stored(finished, "base.at-end"))
            target = torch.from_numpy(stored(finished, f"target.at-end.{kind}"))
            share = torch.linspace(0, 1, N_STEPS + 1, dtype=torch.float64)[:, None]
            points = base[:, None] + share * (target - base)[:, None]
            with torch.no_grad():
                log_p = model.lm_head(model.model.norm(points.float())).double().log_softmax(dim=-1)
            p0 = log_p[:, :1].exp()
            wanted = (p0 * (log_p[:, :1] - log_p)).sum(dim=-1).numpy()
            found = responses_of(finished, "kl", experiment="at-end", kind=kind, schedule="relative")
            assert (wanted.max(axis=1) > 1e-3).all()
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)

    def test_what_reads_the_stream_is_null_there_and_nowhere_else(self, finished: RunFolder):
        curves = finished.curves()
        rows = set(curves.filter(pl.col("l2").is_null()).select("experiment", "kind", "schedule").iter_rows())
        assert rows == {("at-end", kind, "relative") for kind in ("model-generated", "random")}
        assert curves["kl"].null_count() == 0
        assert curves.schema["l2"] == pl.List(pl.Float32)
        steps = finished.steps().filter(pl.col("experiment") == "at-end")
        assert set(steps["response"]) == {"kl"}
        assert set(steps["statistic"]) == {"ms", "auc", "nl", "nl-value"}
        assert set(steps["pair"]) == set(range(PAIRS))
        assert steps.null_count().sum_horizontal().item() == 0

    def test_kinds_and_schedules_of_one_experiment(self, finished: RunFolder):
        found = set(finished.curves(experiment="from").select("kind", "schedule").iter_rows())
        assert found == {("random", "absolute")}
        assert finished.config().experiments["at-end"] == {
            "experiment": "at-end",
            "schedules": ["relative"],
            "kinds": ["model-generated", "random"],
            "site": END,
            "fitted_to": FITTED,
            "distance": "own",
        }

    def test_the_rest_of_the_run_is_as_without_it(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        rest = {name: given for name, given in EXPERIMENTS.items() if name != "at-end"}
        without = run(configure(experiments=rest), tmp_path / "run", report=False, force=True)
        with_it = finished.curves().filter(pl.col("experiment") != "at-end")
        assert with_it.equals(without.curves(), null_equal=True)
        mine, theirs = finished.config(), without.config()
        assert (mine.step_size, mine.statistics) == (theirs.step_size, theirs.statistics)
        assert finished.steps().filter(pl.col("experiment") != "at-end").height == without.steps().height
        codes = [each.codes().sort("pair", "kind") for each in (finished, without)]
        assert codes[0].equals(codes[1], null_equal=True)

    def test_any_experiment_can_push_elsewhere(self, configure: Callable[..., RunConfig], tmp_path: Path):
        plain = {"kinds": ["model-generated"], "sae": None, "schedules": ["relative"]}
        deep = {"experiment": "toward", "site": "blocks.2.hook_resid_pre"}
        both = run(
            configure(experiments={"toward": {}, "deep": deep}, **plain), tmp_path / "both", report=False
        )
        alone = run(
            configure(experiments=["toward"], site="blocks.2.hook_resid_pre", **plain),
            tmp_path / "alone",
            report=False,
        )
        for response in ("l2", "kl"):
            found = responses_of(both, response, experiment="deep")
            wanted = responses_of(alone, response, experiment="toward")
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
            assert not np.allclose(found, responses_of(both, response, experiment="toward"), rtol=0.1)
        target = stored(both, "target.deep.model-generated")
        np.testing.assert_allclose(target, stored(alone, "target.toward.model-generated"), rtol=0, atol=1e-5)


class TestWhatReadsARun:
    @pytest.fixture
    def copied(self, finished: RunFolder, tmp_path: Path) -> RunFolder:
        return RunFolder.open(shutil.copytree(finished.path, tmp_path / "copy"))

    @pytest.mark.parametrize(
        "command",
        [
            ("report",),
            ("measure", "--set", "statistics.nl=false"),
            ("claims",),
        ],
    )
    def test_commands(self, command: tuple[str, ...], copied: RunFolder):
        name, *options = command
        assert invoke([name, str(copied.path), *options]) == 0
        if name == "report":
            summary = pl.read_csv(copied.path / "tables" / "summary.csv")
            assert set(summary.filter(pl.col("experiment") == "at-end")["response"]) == {"kl"}
            assert "At the end" in (copied.path / "report.html").read_text()
        if name == "measure":
            assert "nl" not in copied.steps()["statistic"]
            assert set(copied.steps().filter(pl.col("experiment") == "at-end")["response"]) == {"kl"}

    def test_compare(self, finished: RunFolder, capfd: pytest.CaptureFixture[str]):
        assert invoke(["compare", str(finished.path), str(finished.path)]) == 0
        assert "at-end relative" in capfd.readouterr().out

    def test_it_is_taken_up_where_it_was_cut_by_other_processes(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        def stop(stage: str, done: int, total: int) -> None:
            if stage == "curves" and done >= 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(configure(), tmp_path / "run", progress=stop, report=False, force=True)
        folder = run(configure(), tmp_path / "run", workers=2, report=False, force=True)
        for response, experiment in (("kl", "at-end"), ("l2", "toward"), ("kl", "toward")):
            found, wanted = (
                responses_of(each, response, experiment=experiment, kind="random", schedule="relative")
                for each in (folder, finished)
            )
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"experiments": {"at-end": {"schedules": ["absolute", "relative"]}}},
                r"at-end is pushed at blocks\.last\.hook_resid_post, where distances are in other units .*schedules=",
            ),
            (
                {"experiments": {"at-end": {"kinds": ["random", "synthetic-baseline"]}}},
                r"but synthetic-baseline are made of the latents of an SAE of blocks\.1.*experiments\.at-end\.kinds",
            ),
            (
                {"responses": ["l2"]},
                r"experiments\.at-end measures none of the run's responses \(l2\).*experiments\.at-end=false",
            ),
            ({"experiments": {"toward": {"fitted_to": 9}}}, r"toward\.fitted_to is of a site of its own"),
            (
                {"experiments": {"from": {"kinds": ["randm"]}}},
                r"experiments\.from\.kinds names 'randm' but kinds has 'model-generated', 'random'.*kinds=auto",
            ),
            ({"experiments": {"from": {"kinds": []}}}, r"experiments\.from\.kinds"),
            (
                {"experiments": {"at-end": {"site": "blocks.9.hook_resid_pre"}}},
                "beyond this model, which has 4 blocks",
            ),
            (
                {
                    "experiments": {
                        "toward": {
                            "site": "blocks.last.hook_resid_post",
                            "schedules": ["relative"],
                            "kinds": ["random"],
                        }
                    }
                },
                "nothing is read behind blocks.3.hook_resid_post",
            ),
        ],
    )
    def test_with_a_reason_and_before_anything_is_computed(
        self, changes: dict[str, Any], message: str, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        with pytest.raises(ConfigError, match=message):
            run(configure(**changes), tmp_path / "run", report=False, force=True)
        assert not list(tmp_path.rglob("part-*"))


class TestPresets:
    @pytest.mark.parametrize("name", ["smollm2-135m", "gpt2-paper"])
    def test_the_main_ones_push_at_the_end_and_walk_distances_from(self, name: str):
        config = load_config(name)
        assert list(config.experiments) == ["toward", "from", "at-end", "examples", "codes"]
        assert config.experiments["at-end"] == {}
        assert config.experiments["from"]["schedules"] == ["absolute"]

    @pytest.mark.parametrize("name", ["ladder-smollm2", "ladder-gpt2"])
    def test_ladders_do_not(self, name: str):
        assert list(load_config(name).experiments) == ["toward", "toward-as-far", "from"]

    def test_who_chooses_other_kinds_has_those_of_them_from_which_the_preset_pushes(self, tmp_path: Path):
        chosen = ["model-generated", "random", "single-latent"]
        path = tmp_path / "mine.yaml"
        path.write_text(f"preset: smollm2-135m\nkinds: {chosen}\n")
        for config in (load_config(path), load_config("smollm2-135m", {"kinds": chosen})):
            assert config.experiments["from"]["kinds"] == ["model-generated", "random"]
        assert load_config("smollm2-135m", {"kinds": ["isotropic"]}).experiments["from"]["kinds"] == "auto"
        # What is asked for at once with the kinds stays as it was asked for.
        asked = {"kinds": chosen, "experiments.from.kinds": ["randm"]}
        assert load_config("smollm2-135m", asked).experiments["from"]["kinds"] == ["randm"]
