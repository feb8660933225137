"""Points behind a path's last usable step are not computed, and nothing that is told of a run depends on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from plateau_lens import RunConfig, RunFolder, SuffixEngine, load_config, run
from plateau_lens.execution.packed import respond_along
from plateau_lens.experiments.registry import Experiment
from plateau_lens.experiments.toward import Toward
from plateau_lens.models.trial import Trial
from plateau_lens.report.run_data import load

KINDS = ("model-generated", "random", "isotropic")
N_STEPS, PAIRS = 12, 5
KEYS = ["experiment", "kind", "schedule", "pair"]


class TestRespondAlong:
    LENGTHS = np.array([3, 13, 1, 7, 9, 2])  # two kinds of three pairs

    @pytest.mark.parametrize("max_rows", [5, 27, 1000])
    @pytest.mark.parametrize("architecture", ["llama", "gptj"])
    def test_each_path_is_what_it_is_alone(
        self,
        architecture: str,
        max_rows: int,
        make_tiny_model: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
    ):
        engine = SuffixEngine(make_tiny_model(architecture), max_rows=max_rows)
        tokens = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(1))
        base = engine.site_activations(tokens).repeat(2, 1)
        push = torch.linspace(0, 1, 13)[:, None] * base.roll(1, 0)[:, None]
        points = base[:, None] + push
        prefix = engine.prefix(tokens)
        wanted = [
            engine.respond(prefix.rows(slice(i % 3, i % 3 + 1)), points[i : i + 1]) for i in range(len(base))
        ]
        computed: list[int] = []
        plain = SuffixEngine.respond

        def respond(self: SuffixEngine, prefix: Any, points: torch.Tensor, responses: Any) -> Any:
            computed.append(points.shape[0] * points.shape[1])
            return plain(self, prefix, points, responses)

        monkeypatch.setattr(SuffixEngine, "respond", respond)
        found = respond_along(
            engine,
            prefix,
            lambda paths, steps: points[paths, :steps],
            self.LENGTHS,
            ("l2", "kl"),
            width=13,
        )
        for name in ("l2", "kl"):
            assert found[name].dtype == np.float32
            for path, n in enumerate(self.LENGTHS):
                alone = wanted[path][name][0].numpy()
                np.testing.assert_allclose(found[name][path, :n], alone[:n], rtol=1e-4, atol=1e-6)
                assert np.isnan(found[name][path, n:]).all()
        # By hand. 5 rows a pass: 13, 9, 7, then 1 of 3, 2 of 2 and 1 rows. 27: the longest two (of 13), three of 7,
        # and the one that is left. 1,000: all six as long as the longest.
        assert sum(computed) == {5: 13 + 9 + 7 + 3 + 2 * 2, 27: 2 * 13 + 3 * 7 + 1, 1000: 6 * 13}[max_rows]


def test_a_proof_of_a_long_path_is_one_of_shorter_ones(
    make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    engine = SuffixEngine(make_tiny_model("llama"))
    proofs: list[int] = []
    plain = Trial._agreeing

    def agreeing(self: Trial, tokens: torch.Tensor, points: torch.Tensor, alone: torch.Tensor) -> Any:
        proofs.append(points.shape[1])
        return plain(self, tokens, points, alone)

    monkeypatch.setattr(Trial, "_agreeing", agreeing)
    tokens = torch.randint(5, 200, (2, 9), generator=torch.Generator().manual_seed(1))
    prefix, base = engine.prefix(tokens), engine.site_activations(tokens)
    for n_points in (12, 7, 1, 12, 13):
        engine.respond(prefix, base[:, None].expand(-1, n_points, -1))
    assert proofs == [12, 13]


@pytest.fixture(scope="module")
def configure(tiny_model_folder: Path) -> Callable[..., RunConfig]:
    def make(step_size: float, **changes: Any) -> RunConfig:
        table = {
            "model": {"source": str(tiny_model_folder)},
            "prompts": {"source": "sampled", "n_ctx": 6, "population": 60},
            "sae": None,
            "pairs": PAIRS,
            "unit_size": 3,
            "n_steps": N_STEPS,
            "step_size": step_size,
            "kinds": list(KINDS),
            "experiments": ["toward", "from", "examples"],
            "examples": {"bases": 1, "targets": 2},
        }
        return load_config({**table, **changes})

    return make


@pytest.fixture(scope="module")
def step_size(configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> float:
    """One that takes a typical path to its target in eight steps."""
    folder = run(configure(1.0, experiments=["toward"]), tmp_path_factory.mktemp("runs") / "a", report=False)
    distance = folder.curves()["distance"].median()
    assert isinstance(distance, float)
    return distance / 8


@pytest.fixture(scope="module")
def finished(
    configure: Callable[..., RunConfig], step_size: float, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    return run(configure(step_size), tmp_path_factory.mktemp("runs") / "b", report=False)


def behind(row: dict[str, Any], response: str) -> np.ndarray:
    return np.array(row[response])[row["last_step"] + 1 :]


class TestARun:
    def test_curves_are_nan_behind_their_end_unless_they_are_shown(self, finished: RunFolder):
        cut = 0
        for row in finished.curves().iter_rows(named=True):
            shown = row["experiment"] == "examples"
            shown |= row["experiment"] == "toward" and row["kind"] in ("model-generated", "random")
            for response in ("l2", "kl"):
                assert np.isfinite(np.array(row[response])[: row["last_step"] + 1]).all()
                rest = behind(row, response)
                assert (np.isfinite(rest) if shown else np.isnan(rest)).all()
                cut += len(rest)
        assert cut > 0

    def test_nothing_that_is_told_depends_on_what_is_behind(
        self,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        step_size: float,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        for each in (Experiment, Toward):
            monkeypatch.setattr(each, "whole", lambda self, config: tuple(config.kinds))
        everything = run(configure(step_size), tmp_path / "whole", report=False)
        assert not everything.curves()["l2"].explode().is_nan().any()
        mine, theirs = (each.steps().sort(*KEYS, "response", "statistic") for each in (finished, everything))
        wanted = theirs["value"].to_numpy()
        np.testing.assert_allclose(mine["value"].to_numpy(), wanted, rtol=1e-6, equal_nan=True)
        assert mine.drop("value").equals(theirs.drop("value"))
        for kind in ("model-generated", "random"):
            a, b = (
                load(each).mean_curve(kind, "toward", "absolute", "l2") for each in (finished, everything)
            )
            assert a.n == b.n == PAIRS
            np.testing.assert_allclose(a.response, b.response, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("change", [{"stop_at_target": False}, {"cut_size": 1e-3}])
    def test_paths_that_statistics_follow_further_are_computed_further(
        self, change: dict[str, Any], configure: Callable[..., RunConfig], step_size: float, tmp_path: Path
    ):
        """Steps of 0.001 units reach no target in twelve: there is no end to stop at."""
        folder = run(configure(step_size, experiments=["from"], **change), tmp_path / "run", report=False)
        assert (folder.curves()["last_step"] == N_STEPS).all()
        assert not folder.curves()["l2"].explode().is_nan().any()

    def test_a_run_without_examples_shows_nothing_behind(
        self, configure: Callable[..., RunConfig], step_size: float, tmp_path: Path
    ):
        folder = run(configure(step_size, experiments=["toward"]), tmp_path / "run", report=False)
        absolute = folder.curves().filter(pl.col("schedule") == "absolute")
        rest = [behind(row, "l2") for row in absolute.iter_rows(named=True)]
        assert sum(map(len, rest)) > 0
        assert np.isnan(np.concatenate(rest)).all()
