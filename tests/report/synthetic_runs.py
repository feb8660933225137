"""Run folders with curves whose step statistics are known, written through the run folder's own API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from plateau_lens.execution.step_values import write_steps
from plateau_lens.runs.config import dump, load_config
from plateau_lens.runs.folder import FORMAT, RunFolder

MIN_SLOPE = {"l2": 0.02, "kl": 0.001, "js": 0.001}
KINDS = ("model-generated", "random", "synthetic-structured", "synthetic-baseline", "sae-reconstruction")
NASTY_LABEL = "<b>$x$ & y|</b></script>"
NASTY_PROMPT = "</script><script>alert('$1')</script> & \\frac{\nend"
TALL = {"l2": 80.0, "kl": 6.0, "js": 0.9}
"""Where a curve's rise ends, a response."""


def cliff(steps: Sequence[float] | np.ndarray, height: float, n_steps: int = 100) -> np.ndarray:
    """KindCurves that are 0 before their step and ``height`` from it on: MS and AP step are that very step.

    A step of 0 stands for a curve that never rises.
    """
    at = np.asarray(steps)[:, None]
    return np.where((np.arange(n_steps + 1) >= at) & (at > 0), height, 0.0)


def hill(centre: np.ndarray, height: float, rng: np.random.Generator, n_steps: int = 100) -> np.ndarray:
    """Plateau, blow-up around ``centre``, slow rise: what a model's curves look like."""
    n = np.arange(n_steps + 1)
    width = rng.uniform(2.0, 6.0, len(centre))[:, None]
    rise = 1 / (1 + np.exp(-(n - centre[:, None]) / width))
    rise -= rise[:, :1]
    return height * rng.uniform(0.7, 1.2, len(centre))[:, None] * (rise + 0.002 * n)


def curve_rows(
    experiment: str,
    kind: str,
    schedule: str,
    curves: Mapping[str, np.ndarray | None],
    *,
    last: object = 100,
    prompt=None,
) -> pl.DataFrame:
    """One kind's curves in the schema of ``curves/part-*.parquet``; None where it is not measured by a response."""
    count = next(len(values) for values in curves.values() if values is not None)
    last_steps = np.broadcast_to(np.asarray(last, dtype=np.int64), (count,))
    return pl.DataFrame(
        {
            "experiment": [experiment] * count,
            "kind": [kind] * count,
            "schedule": [schedule] * count,
            "pair": np.arange(count, dtype=np.int64),
            "prompt": np.arange(count, dtype=np.int64)
            if prompt is None
            else np.asarray(prompt, dtype=np.int64),
            "base_norm": np.full(count, 50.0),
            "distance": np.full(count, 50.0),
            "last_step": last_steps,
            **{
                name: pl.Series(
                    [None] * count if values is None else values.astype(np.float32).tolist(),
                    dtype=pl.List(pl.Float32),
                )
                for name, values in curves.items()
            },
        }
    )


def code_rows(kinds: Sequence[str], pairs: int, *, seed: int = 1) -> pl.DataFrame:
    """Codes in the schema of ``codes/part-*.parquet``; the kind called random has none, as in a real run."""
    rng = np.random.default_rng(seed)
    parts: list[pl.DataFrame] = []
    for kind in kinds:
        no_code = np.full(pairs, np.nan) if kind == "random" else 0.0
        parts.append(
            pl.DataFrame(
                {
                    "pair": np.arange(pairs, dtype=np.int64),
                    "kind": [kind] * pairs,
                    "active": rng.integers(5, 60, pairs) + no_code,
                    "top_share": rng.uniform(0.1, 0.5, pairs) + no_code,
                    "top_cosine": rng.normal(0.15, 0.05, pairs) + no_code,
                    "log10_frequency": rng.normal(-2.2, 0.3, pairs) + no_code,
                    "norm": rng.normal(45.0, 6.0, pairs),
                    "distance": rng.normal(52.0, 8.0, pairs),
                }
            )
        )
    return pl.concat(parts) if parts else code_rows(["none"], 0)


def write_run(
    path: Path,
    curves: Sequence[pl.DataFrame],
    *,
    kinds: Sequence[str],
    prompts: Sequence[str],
    overrides: Mapping[str, object] | None = None,
    manifest: Mapping[str, object] | None = None,
    codes: pl.DataFrame | None = None,
    activations: Mapping[str, np.ndarray] | None = None,
) -> RunFolder:
    """Write a finished run folder of the paper's set-up, every number resolved; codes and activations if given."""
    table = {
        "name": "synthetic",
        "model": {"source": "gpt2"},
        "read_site": "blocks.11.hook_resid_post",
        "prompts": {"source": "dataset:apollo-research/Skylion007-openwebtext-tokenizer-gpt2"},
        "sae": {"source": "gpt2-small-res-jb", "id": "blocks.1.hook_resid_pre"},
        "pairs": 2,
        "kinds": {kind: {} for kind in kinds},
        "step_size": 0.5,
        "statistics": {"ap": {"threshold": 20.0}, "ms": {"min_slope": MIN_SLOPE}},
        "experiments": ["toward", "from"],
        **(overrides or {}),
    }
    config = load_config(table)
    folder = RunFolder.create(path)
    every = pl.concat(curves)
    shards = folder.write_shard(
        0, activations or {"pair": np.arange(2)}, every, code_rows([], 0) if codes is None else codes
    )
    entries = {"format": FORMAT, "seed": 0, "shards": shards, "finished": "today", **(manifest or {})}
    folder.write_manifest(entries)
    folder.write_text("config.yaml", dump(config))
    folder.write_table(
        "prompts.parquet",
        pl.DataFrame(
            {
                "pair": np.arange(len(prompts), dtype=np.int64),
                "prompt": np.arange(len(prompts), dtype=np.int64),
                "tokens": [[1, 2, 3]] * len(prompts),
                "text": list(prompts),
            }
        ),
    )
    write_steps(folder, config)
    folder.write_manifest(entries)
    return folder


def write_hills(
    path: Path,
    *,
    pairs: int = 40,
    experiments: Sequence[str] = ("toward", "from", "examples"),
    schedules: Sequence[str] = ("absolute", "relative"),
    responses: Sequence[str] = ("l2", "kl", "js"),
    kinds: Sequence[str] = KINDS,
    prompts: Sequence[str] = (
        "The cat sat on the mat\nand said: $5 & <b>more</b>",
        "“Naïve” — 日本 _x_",
        "Third one",
    ),
    overrides: Mapping[str, object] | None = None,
) -> RunFolder:
    """A run that looks like a real one, of any subset of experiments, schedules, responses and kinds."""
    rng = np.random.default_rng(0)
    curves: list[pl.DataFrame] = []
    for experiment in experiments:
        targets = 6
        shown = kinds[:2] if experiment in ("examples", "at-end") else kinds
        its_own = {"examples": ("absolute",), "at-end": ("relative",)}
        for schedule in its_own.get(experiment, schedules):
            for place, kind in enumerate(shown):
                count = 3 * targets if experiment == "examples" else pairs
                centre = rng.normal(42 + 5 * place, 9, count).clip(6, 96)
                if experiment == "from":
                    centre = rng.gamma(4, max(4, 16 - 2.4 * place) / 4, count).clip(1, 96) + 12
                values = {
                    name: None if (experiment, name) == ("at-end", "l2") else hill(centre, TALL[name], rng)
                    for name in responses
                }
                last = rng.integers(60, 101, count) if schedule == "absolute" else 100
                prompt = np.repeat(np.arange(3), targets) if experiment == "examples" else None
                curves.append(curve_rows(experiment, kind, schedule, values, last=last, prompt=prompt))
    table = {
        "experiments": list(experiments),
        "schedules": list(schedules),
        "responses": list(responses),
        "examples": {"kinds": list(kinds[:2])},
        **(overrides or {}),
    }
    texts = [prompts[i % len(prompts)] for i in range(max(pairs, 3))]
    codes = code_rows([] if tuple(experiments) == ("examples",) else kinds, pairs)
    return write_run(path, curves, kinds=kinds, prompts=texts, overrides=table, codes=codes)
