"""How often bfloat16 products give the MS and AP steps of float32 ones: one run measured twice, curve by curve.

    python benchmarks/bfloat16.py [PRESET] [--pairs 30] [--full RUN] [--json FILE]

Both runs share model, prompts, pairs, activations and thresholds; only ``model.matmul`` differs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import polars as pl

from plateau_lens import load_config, run
from plateau_lens.runs.folder import RunFolder

CURVE = ["experiment", "kind", "schedule", "pair", "response", "statistic"]


def agreement(full: pl.DataFrame, narrow: pl.DataFrame) -> pl.DataFrame:
    """By statistic and response: curves, and the share whose steps differ by at most 0, 1 and 2.

    Censored and undefined are values of their own: they agree with one another alone.
    """
    wanted = pl.col("statistic").is_in(["ms", "ap"])
    both = full.filter(wanted).join(narrow, on=CURVE, suffix=" narrow")
    apart = (pl.col("value") - pl.col("value narrow")).abs()
    same = pl.col("censored") == pl.col("censored narrow")
    nowhere = pl.col("value").is_nan() & pl.col("value narrow").is_nan()
    within = [(same & (nowhere | (apart <= steps))).mean().alias(f"within {steps}") for steps in range(3)]
    return (
        both.group_by("statistic", "response")
        .agg(pl.len().alias("curves"), *within)
        .sort("statistic", "response")
    )


def main() -> None:
    """Run what is missing, compare, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="smollm2-135m")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--full", type=Path, help="a finished run of the preset, with as many pairs or more")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asked = {"pairs": arguments.pairs, "experiments": ["toward", "from"]}
        if arguments.full:
            full = RunFolder.open(arguments.full)
        else:
            full = run(load_config(arguments.preset, asked), Path(temporary) / "full", report=False)
        resolved = full.config().statistics
        thresholds = {
            "statistics.ap.threshold": resolved["ap"]["threshold"],
            "statistics.ms.min_slope": dict(resolved["ms"]["min_slope"]),
        }
        narrow = run(
            load_config(arguments.preset, {**asked, **thresholds, "model.matmul": "bfloat16"}),
            Path(temporary) / "narrow",
            report=False,
        )
        found = agreement(full.steps(), narrow.steps())
    record = {"preset": arguments.preset, "pairs": arguments.pairs, "agreement": found.to_dicts()}
    text = json.dumps(record, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
