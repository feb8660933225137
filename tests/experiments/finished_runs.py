"""A small finished run whose step values are known, written through the run folder's own API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from plateau_lens import RunFolder
from plateau_lens.execution.step_values import measure_again
from plateau_lens.runs.config import dump, load_config
from plateau_lens.runs.folder import FORMAT

N_STEPS = 20
TABLE = {
    "model": {"source": "gpt2"},
    "kinds": ["model-generated", "random"],
    "experiments": ["toward"],
    "responses": ["l2", "kl"],
    "n_steps": N_STEPS,
    "step_size": 0.5,
    "pairs": 6,
}


def curves(shift: int = 0, *, n_steps: int = N_STEPS, step_size: float = 0.5) -> pl.DataFrame:
    """Cliffs of height 40 at steps 3, 5, ..., on both schedules; the last curve of a kind never rises.

    Targets are 7 units away.
    """
    parts: list[pl.DataFrame] = []
    for kind in TABLE["kinds"]:
        for schedule in ("absolute", "relative"):
            at = np.array([3, 5, 7, 9, 11, 99])[:, None] + shift
            rise = np.where(np.arange(n_steps + 1) >= at, 40.0, 0.0).astype(np.float32)
            parts.append(
                pl.DataFrame(
                    {
                        "experiment": ["toward"] * 6,
                        "kind": [kind] * 6,
                        "schedule": [schedule] * 6,
                        "pair": range(6),
                        "prompt": range(6),
                        "base_norm": [50.0] * 6,
                        "distance": [7.0] * 6,
                        "last_step": [int(7 / step_size) if schedule == "absolute" else n_steps] * 6,
                        "l2": pl.Series(rise.tolist(), dtype=pl.List(pl.Float32)),
                        "kl": pl.Series((rise / 10).tolist(), dtype=pl.List(pl.Float32)),
                    }
                )
            )
    return pl.concat(parts)


def write_finished(
    path: Path, *, shift: int = 0, n_steps: int = N_STEPS, step_size: float = 0.5
) -> RunFolder:
    """A run folder of those curves, all later by ``shift`` steps."""
    folder = RunFolder.create(path)
    config = load_config(
        {**TABLE, "n_steps": n_steps, "step_size": step_size}, {"statistics.ap.threshold": 4.0}
    )
    numbers = ("active", "top_share", "top_cosine", "log10_frequency", "norm", "distance")
    nothing = pl.DataFrame(schema={"pair": pl.Int64, "kind": pl.String, **dict.fromkeys(numbers, pl.Float64)})
    shards = folder.write_shard(
        0, {"pair": np.arange(6)}, curves(shift, n_steps=n_steps, step_size=step_size), nothing
    )
    request = config.model_dump(mode="json")
    folder.write_text("config.yaml", dump(config))
    folder.write_manifest(
        {"format": FORMAT, "finished": "today", "request": request, "shards": shards, "seed": 0}
    )
    prompts = {"pair": range(6), "prompt": range(6), "tokens": [[1, 2]] * 6, "text": ["a b"] * 6}
    folder.write_table("prompts.parquet", pl.DataFrame(prompts))
    measure_again(folder, {})
    return folder
