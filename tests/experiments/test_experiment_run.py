"""Whole runs on a tiny model with a tiny SAE: what is in the folder, what it means, and how runs resume."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from plateau_lens import (
    ConfigError,
    PlateauLensError,
    ResourceError,
    RunConfig,
    RunFolder,
    RunFolderError,
    load_config,
    load_dictionary,
    load_model,
    run,
)
from plateau_lens.report.build import build_report

KINDS = ("model-generated", "random", "synthetic-structured", "synthetic-baseline", "sae-reconstruction")
PAIRS, N_STEPS, BASES, TARGETS = 7, 20, 2, 3


@pytest.fixture(scope="module")
def configure(tiny_model_folder: Path, tiny_sae_folder: Path) -> Callable[..., RunConfig]:
    def make(overrides: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
        table = {
            "name": "tiny",
            "model": {"source": str(tiny_model_folder)},
            "prompts": {"source": "sampled", "n_ctx": 6, "population": 120},
            "sae": {"source": str(tiny_sae_folder)},
            "pairs": PAIRS,
            "unit_size": 3,
            "n_steps": N_STEPS,
            "responses": ["l2", "kl", "js"],
            "kinds": {kind: {} for kind in KINDS},
            "examples": {"bases": BASES, "targets": TARGETS},
        }
        return load_config({**table, **changes}, overrides)

    return make


@pytest.fixture(scope="module")
def finished(configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run that the tests below read; those that write copy it first."""
    return run(configure(), tmp_path_factory.mktemp("runs") / "tiny", report=False)


@pytest.fixture
def copied(finished: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder.open(shutil.copytree(finished.path, tmp_path / "copy"))


def shard_files(folder: RunFolder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder.path)): path.read_bytes() for path in sorted(folder.path.rglob("part-*"))
    }


def shard_file(folder: RunFolder, part: str, unit: int) -> Path:
    (name,) = (name for name in RunFolder.shard_names(unit) if name.startswith(f"{part}/"))
    return folder.path / name


def assert_same_numbers(one: RunFolder, other: RunFolder, *, limit: float) -> None:
    """Equal curves and activations within a share of each curve's maximum; exactly equal if ``limit`` is 0."""
    left, right = one.curves(), other.curves()
    keys = ["experiment", "kind", "schedule", "pair", "prompt"]
    assert left.select(keys).equals(right.select(keys))
    np.testing.assert_allclose(left["distance"].to_numpy(), right["distance"].to_numpy(), rtol=limit)
    for name in ("l2", "kl", "js"):
        a, b = (frame[name].list.to_array(N_STEPS + 1).to_numpy() for frame in (left, right))
        # KL and JS of nearly equal distributions are rounding noise: 1e-5 nats, and its square root.
        floor = {"l2": 0.0, "kl": 1e-5, "js": 3e-3}[name] if limit else 0.0
        assert (np.abs(a - b) <= floor + limit * np.abs(a).max(axis=1, keepdims=True)).all(), name
    for name in activation_names(one):
        a, b = by_pair(one, name), by_pair(other, name)
        assert list(a) == list(b)
        for pair, row in a.items():
            np.testing.assert_allclose(row, b[pair], rtol=0, atol=limit * np.abs(row).max())


def activation_names(folder: RunFolder) -> set[str]:
    return {name for block in folder.activations() for name in block} - {"pair"}


def by_pair(folder: RunFolder, name: str) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    for block in folder.activations():
        if name in block:
            found |= dict(zip(block["pair"].tolist(), block[name], strict=True))
    return dict(sorted(found.items()))


class TestFolder:
    def test_files(self, finished: RunFolder):
        found = {str(p.relative_to(finished.path)) for p in finished.path.rglob("*") if p.is_file()} - {
            ".lock"
        }
        parts = [f"{i:05d}" for i in range(5)]  # 7 pairs in threes, and two bases of examples
        tables = {"config.yaml", "manifest.json", "prompts.parquet", "steps.parquet"}
        shards = {f"activations/part-{part}.safetensors" for part in parts}
        shards |= {f"curves/part-{part}.parquet" for part in parts}
        assert shards <= set(finished.manifest()["shards"])
        assert found == tables | set(finished.manifest()["shards"])

    def test_config_is_resolved_with_every_default_written_out(
        self, finished: RunFolder, configure: Callable[..., RunConfig]
    ):
        table = yaml.safe_load((finished.path / "config.yaml").read_text())
        assert set(table) == set(RunConfig.model_fields)
        assert table["read_site"] == "blocks.3.hook_resid_post"
        assert isinstance(table["step_size"], float)
        assert isinstance(table["statistics"]["ap"]["threshold"], float)
        assert set(table["statistics"]["ms"]["min_slope"]) == {"l2", "kl", "js"}
        assert all(isinstance(value, float) for value in table["statistics"]["ms"]["min_slope"].values())
        assert table["statistics"]["nl"] == {"statistic": "nl", "departure": 0.1}
        assert table["responses"]["l2"] == {"response": "l2", "site": "blocks.3.hook_resid_post"}
        assert table["experiments"]["examples"]["kinds"] == ["model-generated", "random"]
        assert table["model"]["centre"] is False
        assert isinstance(table["kinds"]["synthetic-structured"]["top_cosine"], float)
        defaults = {"kind": "synthetic-baseline", "match": "frequency", "neighbours": 10, "code": "base"}
        assert defaults.items() <= table["kinds"]["synthetic-baseline"].items()
        assert finished.config().pairs == configure().pairs

    def test_manifest(self, finished: RunFolder, tiny_model_folder: Path, tiny_sae_folder: Path):
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        manifest = json.loads((finished.path / "manifest.json").read_text(), parse_constant=refuse)
        assert {"format", "versions", "model", "sae", "seed", "machine", "dtype", "shards"} <= set(manifest)
        assert {"torch", "transformers", "sae-lens", "numpy", "plateau-lens"} <= set(manifest["versions"])
        digest = sha256((tiny_model_folder / "model.safetensors").read_bytes()).hexdigest()
        assert manifest["model"]["sha256"]["model.safetensors"] == digest
        digest = sha256((tiny_sae_folder / "sae_weights.safetensors").read_bytes()).hexdigest()
        assert manifest["sae"]["sha256"]["sae_weights.safetensors"] == digest
        assert manifest["sae"]["frequency"] == "measured on 120 last tokens"
        assert (manifest["seed"], manifest["dtype"]) == (0, "float32")
        assert manifest["machine"]["device"] == "cpu"
        files = shard_files(finished)
        assert manifest["shards"] == {name: sha256(content).hexdigest() for name, content in files.items()}

    def test_prompts(self, finished: RunFolder, tiny_model_folder: Path):
        table = finished.prompts()
        assert table.schema["tokens"] == pl.List(pl.Int64)
        assert {"pair", "tokens", "text"} <= set(table.columns)
        assert table["pair"].to_list() == list(range(PAIRS + BASES * TARGETS))
        tokenizer = load_model(str(tiny_model_folder)).tokenizer
        for row in table.iter_rows(named=True):
            assert len(row["tokens"]) == 6
            assert tokenizer.decode(row["tokens"]) == row["text"]
        assert table["tokens"][PAIRS : PAIRS + TARGETS].to_list() == [table["tokens"][0].to_list()] * TARGETS
        assert len({tuple(tokens) for tokens in table["tokens"][:PAIRS]}) == PAIRS

    def test_curves(self, finished: RunFolder):
        table = finished.curves()
        wanted = {"experiment", "kind", "schedule", "pair", "distance", "l2", "kl", "js"}
        assert wanted <= set(table.columns)
        assert all(table.schema[name] == pl.List(pl.Float32) for name in ("l2", "kl", "js"))
        assert (table["l2"].list.len() == N_STEPS + 1).all()
        expected = {
            (experiment, kind, schedule, pair)
            for experiment in ("toward", "from")
            for kind in KINDS
            for schedule in ("absolute", "relative")
            for pair in range(PAIRS)
        } | {
            ("examples", kind, schedule, pair)
            for kind in ("model-generated", "random")
            for schedule in ("absolute", "relative")
            for pair in range(PAIRS, PAIRS + BASES * TARGETS)
        }
        rows = list(table.select("experiment", "kind", "schedule", "pair").iter_rows())
        assert len(rows) == len(set(rows))
        assert set(rows) == expected
        only = finished.curves(experiment="from", kind="random", schedule="relative")
        assert only["pair"].to_list() == list(range(PAIRS))

    def test_activations(self, finished: RunFolder):
        main = {"pair", "base", "target.from"}
        main |= {f"target.toward.{kind}" for kind in KINDS} | {f"base.from.{kind}" for kind in KINDS}
        blocks = list(finished.activations())
        assert [len(block["pair"]) for block in blocks] == [3, 3, 1, TARGETS, TARGETS]
        for block in blocks[:3]:
            assert set(block) == main
            assert all(v.shape == (len(block["pair"]), 32) for k, v in block.items() if k != "pair")
            assert all(v.dtype == np.float32 for k, v in block.items() if k != "pair")
        for block in blocks[3:]:
            names = {"pair", "base", "target.examples.model-generated", "target.examples.random"}
            assert set(block) == names

    def test_steps(self, finished: RunFolder):
        table = finished.steps()
        assert table.columns == [
            "experiment",
            "kind",
            "schedule",
            "pair",
            "last_step",
            "response",
            "statistic",
            "value",
            "censored",
        ]
        statistics = {("l2", s) for s in ("ms", "ap", "auc", "nl", "nl-value")}
        statistics |= {(r, s) for r in ("kl", "js") for s in ("ms", "auc", "nl", "nl-value")}
        assert set(table.select("response", "statistic").iter_rows()) == statistics
        assert len(table) == len(statistics) * 2 * 2 * len(KINDS) * PAIRS
        assert "examples" not in table["experiment"].unique().to_list()
        assert table["value"].is_null().sum() == 0, "undefined is NaN in the file, too"

    def test_reading_needs_no_torch(self, finished: RunFolder):
        import subprocess
        import sys

        code = (
            "import sys\nfrom plateau_lens import RunFolder\n"
            f"folder = RunFolder.open({str(finished.path)!r})\n"
            "folder.config(), folder.steps(), folder.curves(), folder.prompts(), list(folder.activations())\n"
            "print([name for name in ('torch', 'transformers', 'sae_lens') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestSeconds:
    def test_engine_seconds_are_those_inside_the_engine(
        self, configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        from plateau_lens.execution import worker
        from plateau_lens.models.suffix import SuffixEngine

        class Clock:
            """Moves on by 1 in `respond`, 10 in `prefix` and 1000 in everything a kind draws."""

            now = 0.0

            def perf_counter(self) -> float:
                return self.now

            def moving(self, method: Callable[..., Any], by: float) -> Callable[..., Any]:
                def moved(*args: Any, **kwargs: Any) -> Any:
                    self.now += by
                    return method(*args, **kwargs)

                return moved

        clock = Clock()
        monkeypatch.setattr(worker, "time", clock)
        monkeypatch.setattr(SuffixEngine, "respond", clock.moving(SuffixEngine.respond, 1))
        monkeypatch.setattr(SuffixEngine, "prefix", clock.moving(SuffixEngine.prefix, 10))
        monkeypatch.setattr(worker.Worker, "_draw", clock.moving(worker.Worker._draw, 1000))
        changes = {"experiments": ["toward"], "kinds": ["random"], "sae": None, "responses": ["l2"]}
        folder = run(configure(**changes), tmp_path / "run", report=False)
        assert folder.manifest()["engine_seconds"] == 3 * (10 + 2)  # three units, two schedules each


class TestNumbers:
    @pytest.fixture
    def model(self, tiny_model_folder: Path) -> Any:
        return load_model(str(tiny_model_folder)).model

    def test_bases_are_the_models_own(self, finished: RunFolder, model: Any):
        tokens = torch.tensor(finished.prompts()["tokens"].to_list())
        with torch.no_grad():
            wanted = model(tokens, output_hidden_states=True).hidden_states[1][:, -1].numpy()
        for pair, base in by_pair(finished, "base").items():
            np.testing.assert_allclose(base, wanted[pair], rtol=0, atol=1e-5)

    def test_curves_are_those_of_the_stored_activations(
        self, finished: RunFolder, model: Any, oracle: Callable[..., dict[str, np.ndarray]]
    ):
        step_size = finished.config().step_size
        tokens = dict(zip(finished.prompts()["pair"], finished.prompts()["tokens"].to_list(), strict=True))
        stored = {name: by_pair(finished, name) for name in activation_names(finished)}
        ends = {
            "toward": lambda kind, pair: (stored["base"][pair], stored[f"target.toward.{kind}"][pair]),
            "from": lambda kind, pair: (stored[f"base.from.{kind}"][pair], stored["target.from"][pair]),
            "examples": lambda kind, pair: (stored["base"][pair], stored[f"target.examples.{kind}"][pair]),
        }
        table = finished.curves()
        prompts, points, rows = [], [], []
        for row in table.iter_rows(named=True):
            base, target = (
                end.astype(np.float64) for end in ends[row["experiment"]](row["kind"], row["pair"])
            )
            apart = target - base
            distance = math.sqrt(float(apart @ apart))
            assert row["distance"] == pytest.approx(distance, rel=1e-5)
            assert row["base_norm"] == pytest.approx(math.sqrt(float(base @ base)), rel=1e-5)
            n = np.arange(N_STEPS + 1)[:, None]
            if row["schedule"] == "absolute":
                path = base + n * step_size * apart / distance
                assert row["last_step"] == min(N_STEPS, math.floor(distance / step_size + 1e-9))
            else:
                path = base + n / N_STEPS * apart
                assert row["last_step"] == N_STEPS
            prompts.append(tokens[row["pair"]])
            points.append(path)
            rows.append(row)
        wanted = oracle(
            model,
            model.model.layers,
            torch.tensor(prompts),
            torch.tensor(np.stack(points)).float(),
            site=1,
            read=4,
            centre=False,
        )
        for name, limit in {"l2": 1e-4, "kl": 1e-3, "js": 1e-3}.items():
            found = np.array([row[name] for row in rows])
            top = wanted[name].max(axis=1, keepdims=True)
            assert (top > 1e-3).all()
            assert (np.abs(found - wanted[name]) / top).max() < limit, name

    def test_targets_are_what_their_kinds_say(self, finished: RunFolder, tiny_sae_folder: Path):
        dictionary = load_dictionary(str(tiny_sae_folder))
        base = np.stack(list(by_pair(finished, "base").values()))[:PAIRS]
        other = np.stack(list(by_pair(finished, "target.toward.model-generated").values()))
        assert not any(np.allclose(a, b) for a, b in zip(base, other, strict=True))
        assert len({tuple(row) for row in other.tolist()}) == PAIRS
        rebuilt = np.stack(list(by_pair(finished, "target.toward.sae-reconstruction").values()))
        wanted = dictionary.decode(dictionary.encode(torch.from_numpy(other))).numpy()
        np.testing.assert_allclose(rebuilt, wanted, rtol=0, atol=1e-5)
        for kind in KINDS:
            toward, start = (by_pair(finished, f"{role}.{kind}") for role in ("target.toward", "base.from"))
            assert all(np.array_equal(toward[pair], start[pair]) for pair in toward)
        fresh = by_pair(finished, "target.from")
        random = by_pair(finished, "target.toward.random")
        assert not any(np.allclose(fresh[pair], random[pair]) for pair in fresh)

    def test_examples_share_a_base_and_differ_in_target(self, finished: RunFolder):
        for kind in ("model-generated", "random"):
            targets = by_pair(finished, f"target.examples.{kind}")
            base = by_pair(finished, "base")
            for first in range(PAIRS, PAIRS + BASES * TARGETS, TARGETS):
                group = range(first, first + TARGETS)
                assert len({tuple(base[pair]) for pair in group}) == 1
                assert len({tuple(targets[pair]) for pair in group}) == TARGETS
                assert not any(np.allclose(base[pair], targets[pair]) for pair in group)

    def test_automatic_numbers(self, finished: RunFolder):
        config = finished.config()
        relative = finished.curves(experiment="toward", kind="model-generated", schedule="relative")
        ends = [curve[-1] for curve in relative["l2"].to_list()]
        threshold, slope = config.statistics["ap"]["threshold"], config.statistics["ms"]["min_slope"]
        assert threshold == pytest.approx(0.1 * float(np.median(ends)), rel=1e-5)
        assert slope["l2"] == pytest.approx(threshold / 1000, rel=1e-5)
        assert (slope["kl"], slope["js"]) == (1e-3, 1e-3)

    def test_step_size_is_a_hundredth_of_the_typical_distance(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        # With every prompt a pair, all the distances that the median is over are in the curves.
        folder = run(
            configure(
                pairs=20,
                prompts={"source": "sampled", "n_ctx": 6, "population": 20},
                sae=None,
                kinds=["model-generated"],
                experiments=["toward"],
                responses=["l2"],
            ),
            tmp_path / "all",
            report=False,
        )
        distance = folder.curves(schedule="relative")["distance"].to_numpy()
        low, high = np.sort(distance)[[9, 10]]
        assert low * (1 - 1e-5) <= folder.config().step_size * 100 <= high * (1 + 1e-5)

    def test_steps_are_those_of_the_curves(self, finished: RunFolder):
        config = finished.config()
        keys = ["experiment", "kind", "schedule", "pair"]
        curves = {tuple(row[key] for key in keys): row for row in finished.curves().iter_rows(named=True)}
        checked = 0
        for row in finished.steps().iter_rows(named=True):
            curve = curves[tuple(row[key] for key in keys)]
            d, last = curve[row["response"]], curve["last_step"]
            if row["statistic"] == "ms":
                slopes = [d[n] - d[n - 1] for n in range(1, last + 1)]
                steepest = max(slopes, default=-math.inf)
                defined = steepest > config.statistics["ms"]["min_slope"][row["response"]]
                value = 1 + slopes.index(steepest) if defined else last
                censored = not defined or value == last
            elif row["statistic"] == "ap":
                reached = [n for n in range(last + 1) if d[n] >= config.statistics["ap"]["threshold"]]
                value, censored = (reached[0], False) if reached else (last, True)
            else:
                continue
            assert row["censored"] == censored
            assert row["value"] == value
            checked += 1
        assert checked == 4 * 2 * 2 * len(KINDS) * PAIRS


def ladder_keys() -> dict[str, Any]:
    """What makes a configuration a ladder."""
    preset = load_config("ladder-smollm2")
    return {name: getattr(preset, name) for name in ("experiments", "responses", "kinds")}


@pytest.fixture(scope="module")
def ladder(configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(configure(**ladder_keys()), tmp_path_factory.mktemp("ladder") / "run", report=False)


class TestLadder:
    """Every kind of the ladder preset, on the tiny model."""

    def test_each_experiment_has_its_schedule(self, ladder: RunFolder):
        found = set(ladder.curves().select("experiment", "schedule").iter_rows())
        assert found == {("toward", "relative"), ("toward-as-far", "relative"), ("from", "absolute")}
        assert ladder.steps()["kind"].n_unique() == 24

    def test_equal_norms_are_equal_pair_by_pair(self, ladder: RunFolder):
        codes = ladder.codes()
        norm = {
            kind: rows["norm"].to_numpy()
            for (kind,), rows in codes.partition_by("kind", as_dict=True).items()
        }
        real = {"base": norm["own-activation"], "other": norm["model-generated"]}
        for label, given in ladder.config().kinds.items():
            if given["norm"] != "own":
                np.testing.assert_allclose(norm[label], real[given["norm"]], rtol=1e-5)
        assert not np.allclose(norm["synthetic-structured"], real["base"], rtol=1e-2)

    def test_targets_as_far_as_the_model_generated_one(self, ladder: RunFolder):
        far = ladder.curves(experiment="toward-as-far", schedule="relative")
        own = ladder.curves(experiment="toward", schedule="relative")
        wanted = own.filter(pl.col("kind") == "model-generated")["distance"].to_numpy()
        for (kind,), rows in far.partition_by("kind", as_dict=True).items():
            np.testing.assert_allclose(rows["distance"].to_numpy(), wanted, rtol=1e-6)
            base, moved = (by_pair(ladder, name) for name in ("base", f"target.toward-as-far.{kind}"))
            for pair, target in by_pair(ladder, f"target.toward.{kind}").items():
                one, other = target - base[pair], moved[pair] - base[pair]
                cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                assert cosine == pytest.approx(1, abs=1e-5), kind

    def test_how_the_sae_reads_every_activation(self, ladder: RunFolder, tiny_sae_folder: Path):
        sae = load_dictionary(str(tiny_sae_folder))
        rows = ladder.codes().filter(pl.col("kind") == "random").sort("pair")
        drawn = torch.from_numpy(np.stack(list(by_pair(ladder, "base.from.random").values())))
        codes = sae.encode(drawn).double()
        back = sae.decode(sae.encode(drawn)).double()
        error = (drawn.double() - back).norm(dim=-1) / (drawn.double() - sae.bias.double()).norm(dim=-1)
        assert rows["read_active"].to_list() == (codes > 0).sum(dim=-1).tolist()
        share = codes.max(dim=-1).values / codes.sum(dim=-1)
        np.testing.assert_allclose(rows["read_top_share"].to_numpy(), share.numpy(), rtol=1e-6)
        np.testing.assert_allclose(rows["read_error"].to_numpy(), error.numpy(), rtol=1e-5)
        assert rows["active"].is_nan().all(), "random is made of no code"

    def test_shared_kinds_are_the_main_runs(self, ladder: RunFolder, finished: RunFolder):
        for kind in KINDS:
            for name in ("base", f"target.toward.{kind}", f"base.from.{kind}", "target.from"):
                mine, main = by_pair(ladder, name), by_pair(finished, name)
                for pair in range(PAIRS):
                    np.testing.assert_allclose(mine[pair], main[pair], rtol=0, atol=1e-5)
        mine, main = ladder.config(), finished.config()
        assert (mine.step_size, mine.statistics["ap"]) == (main.step_size, main.statistics["ap"])
        assert mine.statistics["ms"]["min_slope"]["l2"] == main.statistics["ms"]["min_slope"]["l2"]

    def test_every_rung_is_another_activation_and_the_report_has_all(self, ladder: RunFolder):
        labels = list(load_config("ladder-smollm2").kinds)
        drawn = np.stack([np.stack(list(by_pair(ladder, f"base.from.{label}").values())) for label in labels])
        assert np.isfinite(drawn).all()
        for i in range(len(labels)):
            for j in range(i):
                assert not np.allclose(drawn[i], drawn[j], atol=1e-3), (labels[i], labels[j])
        build_report(ladder, only_tables=True)
        summary = pl.read_csv(ladder.path / "tables" / "summary.csv")
        assert set(summary["kind"]) == set(labels)
        codes = pl.read_csv(ladder.path / "tables" / "controls.csv")
        assert set(codes["kind"]) == set(labels)
        assert list(ladder.config().kinds) == labels, "in the ladder's order"

    def test_units_have_no_influence(
        self, ladder: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        other = run(configure(**ladder_keys(), unit_size=5), tmp_path / "run", report=False)
        for name in activation_names(ladder):
            a, b = by_pair(ladder, name), by_pair(other, name)
            for pair in range(PAIRS):
                np.testing.assert_allclose(a[pair], b[pair], rtol=0, atol=1e-4 * np.abs(a[pair]).max())


class TestResuming:
    @pytest.fixture
    def computed(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Units computed from here on."""
        from plateau_lens.execution.worker import Worker

        units: list[int] = []
        real = Worker.compute

        def compute(self: Any, unit: Any) -> Any:
            units.append(unit.index)
            return real(self, unit)

        monkeypatch.setattr(Worker, "compute", compute)
        return units

    def test_a_finished_run_is_left_alone(
        self, copied: RunFolder, configure: Callable[..., RunConfig], computed: list[int]
    ):
        before = {p: p.read_bytes() for p in copied.path.rglob("*") if p.is_file()}
        run(configure(), copied.path, report=False)
        assert computed == []
        assert {p: p.read_bytes() for p in copied.path.rglob("*") if p.is_file()} == before

    def test_what_touches_no_curve_is_taken_up_without_computing(
        self, copied: RunFolder, configure: Callable[..., RunConfig], computed: list[int]
    ):
        threshold = copied.config().statistics["ap"]["threshold"]
        overrides = {
            "report.equivalence_margin": 3.5,
            "statistics.nl": False,
            "statistics.nl-value.departure": 0.3,
        }
        run(configure(overrides), copied.path, report=False)
        assert computed == []
        resolved = copied.config()
        assert (resolved.report.equivalence_margin, resolved.statistics["ap"]["threshold"]) == (
            3.5,
            threshold,
        )
        assert resolved.statistics["nl-value"]["departure"] == 0.3
        assert copied.steps()["statistic"].unique().sort().to_list() == ["ap", "auc", "ms", "nl-value"]
        assert copied.manifest()["request"]["report"]["equivalence_margin"] == 3.5
        (entry,) = copied.manifest()["measured_again"]
        assert entry["changed"]["report.equivalence_margin"] == [2.0, 3.5]
        assert entry["changed"]["statistics.nl"][1] is None

    @pytest.mark.parametrize("damage", ["curves gone", "activations gone", "curves changed", "cut short"])
    def test_only_the_broken_shard_is_computed_again(
        self,
        damage: str,
        copied: RunFolder,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        computed: list[int],
    ):
        activations, curves = (shard_file(copied, part, 1) for part in ("activations", "curves"))
        if damage == "curves gone":
            curves.unlink()
        elif damage == "activations gone":
            activations.unlink()
        elif damage == "curves changed":
            content = bytearray(curves.read_bytes())
            content[-20] ^= 255
            curves.write_bytes(content)
        else:
            activations.write_bytes(activations.read_bytes()[:-7])
        run(configure(), copied.path, report=False)
        assert computed == [1]
        assert_same_numbers(copied, finished, limit=0)
        assert copied.steps().equals(finished.steps(), null_equal=True)
        assert copied.manifest()["shards"] == finished.manifest()["shards"]
        assert load_file(activations)["pair"].tolist() == [3, 4, 5]

    def test_a_run_cut_short_goes_on_where_it_was(
        self,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        computed: list[int],
        tmp_path: Path,
    ):
        def stop(stage: str, done: int, total: int) -> None:
            if stage == "curves" and done >= 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(configure(), tmp_path / "run", progress=stop, report=False)
        assert computed == [0, 1]
        with pytest.raises(RunFolderError, match=r"steps\.parquet yet"):
            RunFolder.open(tmp_path / "run").steps()
        folder = run(configure(), tmp_path / "run", report=False)
        assert computed == [0, 1, 2, 3, 4]
        assert_same_numbers(folder, finished, limit=0)
        assert folder.steps().equals(finished.steps(), null_equal=True)

    def test_killed_while_a_shard_is_entered(
        self,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        computed: list[int],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        real = RunFolder.enter_shard

        def killed(self: RunFolder, checksums: Any, **totals: float) -> None:
            real(self, checksums, **totals)
            if "curves/part-00002.parquet" in checksums:
                journal = self.path / "manifest.jsonl"
                journal.write_bytes(journal.read_bytes()[:-9])
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "enter_shard", killed)
            with pytest.raises(KeyboardInterrupt):
                run(configure(), tmp_path / "run", report=False)
        folder = run(configure(), tmp_path / "run", report=False)
        assert computed == [0, 1, 2, 2, 3, 4]
        assert shard_files(folder) == shard_files(finished)
        assert folder.manifest()["shards"] == finished.manifest()["shards"]

    def test_the_manifest_is_written_as_often_for_many_shards_as_for_few(
        self, configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        written: list[int] = []
        real = RunFolder.write_manifest

        def write(self: RunFolder, manifest: Any, **how: Any) -> None:
            written.append(len(manifest["shards"]))
            real(self, manifest, **how)

        monkeypatch.setattr(RunFolder, "write_manifest", write)
        changes = {"experiments": ["toward"], "kinds": ["random"], "sae": None, "responses": ["l2"]}
        run(configure(unit_size=1, **changes), tmp_path / "run", report=False)
        assert written == [0, 0, 3 * PAIRS]

    @pytest.mark.parametrize("name", ["steps.parquet", "prompts.parquet", "config.yaml"])
    def test_a_table_that_is_gone_is_made_again(
        self,
        name: str,
        copied: RunFolder,
        finished: RunFolder,
        configure: Callable[..., RunConfig],
        computed: list[int],
    ):
        (copied.path / name).unlink()
        run(configure(), copied.path, report=False)
        assert (copied.path / name).is_file()
        assert computed == []
        assert (copied.path / name).read_bytes() == (finished.path / name).read_bytes()

    def test_another_configuration_is_refused_and_nothing_touched(
        self, copied: RunFolder, configure: Callable[..., RunConfig]
    ):
        before = shard_files(copied)
        with pytest.raises(RunFolderError) as caught:
            run(configure({"seed": 1, "prompts.n_ctx": 7}), copied.path, report=False)
        message = str(caught.value)
        assert "seed: the folder has 0, asked for 1" in message
        assert "prompts.n_ctx: the folder has 6, asked for 7" in message
        assert "choose another --out" in message
        assert shard_files(copied) == before

    def test_other_weights_under_the_same_name_are_refused(
        self,
        finished: RunFolder,
        tiny_model_folder: Path,
        configure: Callable[..., RunConfig],
        tmp_path: Path,
    ):
        from safetensors.torch import load_file as load_tensors
        from safetensors.torch import save_file

        model = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
        changes = {
            "model": {"source": str(model)},
            "pairs": 4,
            "sae": None,
            "kinds": ["model-generated"],
            "examples": {"kinds": ["model-generated"]},
        }
        folder = run(configure(**changes), tmp_path / "run", report=False)
        weights = load_tensors(model / "model.safetensors")
        weights["model.norm.weight"] = weights["model.norm.weight"] + 1
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
        shard_file(folder, "curves", 0).unlink()
        with pytest.raises(
            RunFolderError, match=r"begun with other files than are here now:\s+model\.sha256"
        ):
            run(configure(**changes), folder.path, report=False)

    def test_a_strangers_folder_is_refused(self, configure: Callable[..., RunConfig], tmp_path: Path):
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(RunFolderError, match=r"thesis\.tex"):
            run(configure(), tmp_path, report=False)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


class TestIndependence:
    @pytest.mark.parametrize("unit_size", [1, 100])
    def test_of_how_units_are_cut(
        self, unit_size: int, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        folder = run(configure(unit_size=unit_size), tmp_path / "run", report=False)
        assert_same_numbers(folder, finished, limit=1e-4)

    def test_of_how_many_workers_there_are(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        told: list[tuple[str, int, int]] = []
        folder = run(
            configure(), tmp_path / "run", workers=2, progress=lambda *a: told.append(a), report=False
        )
        assert_same_numbers(folder, finished, limit=1e-4)
        done = [done for stage, done, _ in told if stage == "curves"]
        total = PAIRS + BASES * TARGETS
        assert done == sorted(done)
        assert done[-1] == total
        assert {n for _, _, n in told} == {total}

    def test_of_which_other_kinds_there_are(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        kinds = ["synthetic-baseline", "random"]
        changes = {"kinds": kinds, "experiments": ["from"], "step_size": finished.config().step_size}
        folder = run(configure(**changes), tmp_path / "run", report=False)
        for kind in kinds:
            name = f"base.from.{kind}"
            for pair, row in by_pair(folder, name).items():
                np.testing.assert_allclose(row, by_pair(finished, name)[pair], rtol=0, atol=1e-5)
        for pair, row in by_pair(folder, "target.from").items():
            np.testing.assert_allclose(row, by_pair(finished, "target.from")[pair], rtol=0, atol=1e-5)

    def test_two_runs_of_one_seed_are_one_and_two_seeds_are_two(
        self, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        torch.manual_seed(99)
        again = run(configure(), tmp_path / "again", report=False)
        assert shard_files(again) == shard_files(finished)
        other = run(configure(seed=1, pairs=3, responses=["l2"]), tmp_path / "other", report=False)
        for name in activation_names(finished):
            a, b = by_pair(finished, name), by_pair(other, name)
            assert not any(np.allclose(a[pair], b[pair]) for pair in a.keys() & b.keys()), name


class TestVariants:
    @pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
    def test_other_number_formats(
        self, dtype: str, finished: RunFolder, configure: Callable[..., RunConfig], tmp_path: Path
    ):
        folder = run(configure({"model.dtype": dtype}), tmp_path / "run", report=False)
        assert set(folder.curves()["kind"]) == set(KINDS)
        assert all(row.dtype == np.float32 for row in by_pair(folder, "base").values())
        assert folder.curves()["l2"].explode().is_nan().sum() == 0
        assert folder.manifest()["dtype"] == dtype

    def test_a_text_file_with_fewer_lines_than_the_population_asked_for(
        self,
        configure: Callable[..., RunConfig],
        sentences: tuple[str, ...],
        tmp_path: Path,
    ):
        # 6 prompts where 120 were asked for: examples of 10 targets must not come round to their own prompt.
        path = tmp_path / "six.txt"
        path.write_text("\n".join(sentences[:6]), encoding="utf-8")
        folder = run(
            configure(
                prompts={"source": str(path), "n_ctx": 6, "population": 120},
                pairs=3,
                sae=None,
                kinds=["model-generated", "random"],
                examples={"bases": 2, "targets": 10},
            ),
            tmp_path / "run",
            report=False,
        )
        assert folder.config().prompts.population == 6
        examples = folder.curves(experiment="examples", kind="model-generated", schedule="relative")
        assert (examples["distance"] > 0).all()
        assert not examples["l2"].explode().is_nan().any()
        for prompt in (0, 1):
            distances = examples.filter(pl.col("prompt") == prompt)["distance"].to_list()
            first = {round(d, 5) for d in distances[:5]}
            assert len(first) == min(5, len(distances)), (
                "no target again before each of the 5 others had its turn"
            )

    def test_shipped_frequencies_are_used(
        self,
        configure: Callable[..., RunConfig],
        tiny_sae_with_sparsity_folder: Path,
        tmp_path: Path,
    ):
        folder = run(
            configure(sae={"source": str(tiny_sae_with_sparsity_folder)}), tmp_path / "run", report=False
        )
        assert folder.manifest()["sae"]["frequency"] == "shipped with the SAE"

    def test_a_mean_free_model(
        self,
        configure: Callable[..., RunConfig],
        make_tiny_model: Callable[..., Any],
        tmp_path: Path,
    ):
        make_tiny_model("gpt2").save_pretrained(tmp_path / "gpt2")
        folder = run(
            configure(
                model={"source": str(tmp_path / "gpt2")}, sae=None, kinds=["model-generated", "random"]
            ),
            tmp_path / "run",
            report=False,
        )
        assert folder.config().model.centre is True
        assert folder.manifest()["centred"] is True
        for name in activation_names(folder):
            for row in by_pair(folder, name).values():
                assert abs(row.mean()) < 1e-5, name

    def test_a_plugins_kind(
        self, configure: Callable[..., RunConfig], tmp_path: Path, registry_put_back: None
    ):
        plugin = tmp_path / "mine.py"
        plugin.write_text(
            "from plateau_lens import kind\n\n\n@kind('halfway')\ndef halfway(block):\n"
            "    return (block.base + block.other) / 2\n"
        )
        folder = run(
            configure(
                plugins=[str(plugin)], kinds=["halfway", "model-generated"], sae=None, experiments=["toward"]
            ),
            tmp_path / "run",
            report=False,
        )
        base, halfway, other = (
            by_pair(folder, name)
            for name in ("base", "target.toward.halfway", "target.toward.model-generated")
        )
        for pair, row in halfway.items():
            np.testing.assert_allclose(row, (base[pair] + other[pair]) / 2, atol=1e-6)

    @pytest.fixture
    def registry_put_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from plateau_lens.activations.registry import KINDS

        monkeypatch.setattr(KINDS, "_known", dict(KINDS.all()))


class TestRefusals:
    def refusal(self, config: RunConfig, out: Path, kind: type[PlateauLensError]) -> str:
        with pytest.raises(kind) as caught:
            run(config, out, report=False)
        assert not list(out.rglob("*.parquet"))
        return str(caught.value)

    def test_kinds_of_latents_without_an_sae(self, configure: Callable[..., RunConfig], tmp_path: Path):
        message = self.refusal(configure(sae=None), tmp_path / "run", ConfigError)
        assert (
            "synthetic-structured, synthetic-baseline, sae-reconstruction are made of SAE latents" in message
        )

    def test_an_sae_of_another_width(
        self, configure: Callable[..., RunConfig], make_tiny_model: Callable[..., Any], tmp_path: Path
    ):
        make_tiny_model("llama", hidden_size=48).save_pretrained(tmp_path / "wide")
        config = configure(model={"source": str(tmp_path / "wide")})
        message = self.refusal(config, tmp_path / "run", ResourceError)
        assert "has d_model=32 but" in message
        assert "d_model=48; choose an SAE trained on this model" in message

    def test_a_site_beyond_the_model(self, configure: Callable[..., RunConfig], tmp_path: Path):
        message = self.refusal(configure(site="blocks.9.hook_resid_pre"), tmp_path / "run", ConfigError)
        assert "which has 4 blocks" in message

    def test_a_plugin_that_is_not_there(self, configure: Callable[..., RunConfig], tmp_path: Path):
        message = self.refusal(configure(plugins=["nowhere.py"]), tmp_path / "run", ConfigError)
        assert "plugin 'nowhere.py' cannot be imported: FileNotFoundError" in message

    def test_prompts_of_another_model(self, configure: Callable[..., RunConfig], tmp_path: Path):
        config = configure(prompts={"source": "bundled", "population": 20})
        assert "set prompts.source" in self.refusal(config, tmp_path / "run", ResourceError)


def test_a_kind_of_the_users_own_that_returns_nonsense(configure: Callable[..., RunConfig], tmp_path: Path):
    from plateau_lens import kind

    for name, returned, said in (
        (
            "narrow",
            lambda block: block.base[:, :3],
            r"kind 'narrow' returned torch.float32 \(\d+, 3\), expected",
        ),
        ("numpy", lambda block: block.base.numpy(), "kind 'numpy' returned ndarray, expected a torch tensor"),
        ("one", lambda block: block.base[0], r"kind 'one' returned torch.float32 \(\d+,\), expected"),
    ):
        kind(name)(returned)
        with pytest.raises(ConfigError, match=said):
            run(configure(kinds=[name], sae=None), tmp_path / name, report=False)


def test_resuming_with_other_prompts_is_refused(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from plateau_lens.prompts import sampled

    config = configure(prompts={"source": "sampled", "n_ctx": 6, "population": 30})
    folder = run(config, tmp_path / "run", report=False)
    (folder.path / RunFolder.shard_names(0).curves).unlink()
    real = sampled.sample_windows
    monkeypatch.setattr(sampled, "sample_windows", lambda *a, **k: real(*a, **{**k, "seed": 99}))
    with pytest.raises(RunFolderError, match=r"prompts\.tokens_sha256"):
        run(config, tmp_path / "run", report=False)


def test_products_in_bfloat16_give_nearly_the_same_curves_and_a_warning(
    configure: Callable[..., RunConfig], finished: RunFolder, tmp_path: Path
):
    said: list[str] = []
    coarse = run(
        configure({"model.matmul": "bfloat16", "experiments": ["toward"]}),
        tmp_path / "coarse",
        notice=said.append,
        report=False,
    )
    assert any("bfloat16" in line and "first look" in line for line in said)
    wanted = finished.curves(experiment="toward", kind="random", schedule="relative")
    found = coarse.curves(experiment="toward", kind="random", schedule="relative")
    wide, narrow = (np.stack(frame["l2"].to_list()) for frame in (wanted, found))
    assert 0 < np.abs(narrow - wide).max() < 0.1 * wide.max()
