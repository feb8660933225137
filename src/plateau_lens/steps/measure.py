"""From curves to steps: the thresholds a run measures on itself, and one number a curve and statistic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plateau_lens.glossary import Response
from plateau_lens.numerics import steps
from plateau_lens.numerics.steps import StepValues
from plateau_lens.runs.config import RunConfig

if TYPE_CHECKING:
    import polars as pl

    from plateau_lens.runs.folder import RunFolder

AP_SHARE = 0.1
"""Automatic AP threshold, as a share of the median end-of-path L2; on GPT-2 that is about the paper's 20."""
MIN_SLOPE_SHARE = 0.001
"""Automatic min_slope of L2, as a share of the AP threshold: the paper's 0.02 where that is 20."""


def resolve_statistics(config: RunConfig, folder: RunFolder) -> RunConfig:
    """Replace ``auto`` thresholds by numbers, from the curves of the run.

    The AP threshold is `AP_SHARE` of the median L2 at the end of the paths toward model-generated targets
    (relative schedule if the run has it). A run without such paths takes all of its kinds together.
    """
    statistics = config.statistics
    threshold = statistics.ap_threshold
    if threshold == "auto":
        threshold = float(f"{AP_SHARE * _end_of_path_l2(config, folder):.6g}")
    automatic = {"l2": MIN_SLOPE_SHARE * threshold}
    min_slope = {
        name: automatic.get(name, 0.0) if value == "auto" else value
        for name, value in statistics.min_slope.items()
    }
    resolved = statistics.model_copy(update={"ap_threshold": threshold, "min_slope": min_slope})
    return config.model_copy(update={"statistics": resolved})


def _end_of_path_l2(config: RunConfig, folder: RunFolder) -> float:
    import polars as pl

    model_generated = pl.col("kind").is_in(config.labels_of("model-generated"))
    at_end = pl.col("l2").list.get(pl.col("last_step")).cast(pl.Float64).alias("end")
    paths = (
        model_generated & (pl.col("experiment") == "toward"),
        model_generated & (pl.col("experiment") == "examples"),
        pl.lit(True),
    )
    for chosen in (
        path & schedule for path in paths for schedule in (pl.col("schedule") == "relative", pl.lit(True))
    ):
        blocks = (block.filter(chosen).select(at_end).drop_nans() for block in folder.curve_blocks())
        ends = pl.concat([block.collect() for block in blocks])["end"].to_numpy()
        if len(ends):
            return float(np.median(ends))
    return float("nan")


def measure_steps(config: RunConfig, curves: pl.DataFrame) -> pl.DataFrame:
    """All step statistics of some curves: the rows of ``steps.parquet``.

    Args:
        config: with numbers for ``ap_threshold`` and ``min_slope``.
        curves: rows of ``curves/part-*.parquet``; those of the examples are left out.
    """
    import polars as pl

    curves = curves.filter(pl.col("experiment") != "examples")
    last = curves["last_step"].to_numpy()
    parts: list[pl.DataFrame] = []
    for response in config.responses:
        d = curves[response].list.to_array(config.n_steps + 1).to_numpy().astype(np.float64)
        for statistic, values in _statistics(config, response, d, last).items():
            parts.append(
                curves.select(
                    "experiment",
                    "kind",
                    "schedule",
                    "pair",
                    pl.lit(response).alias("response"),
                    pl.lit(statistic).alias("statistic"),
                    pl.Series("value", values.value, dtype=pl.Float64),
                    pl.Series("censored", values.censored, dtype=pl.Boolean),
                )
            )
    return pl.concat(parts)


def _statistics(
    config: RunConfig, response: Response, d: np.ndarray, last: np.ndarray
) -> dict[str, StepValues]:
    min_slope = config.statistics.min_slope.get(response, 0.0)
    threshold = config.statistics.ap_threshold
    assert not isinstance(min_slope, str)
    assert not isinstance(threshold, str)
    found = {
        "ms": steps.max_slope_step(d, last, min_slope=min_slope, notebook=config.statistics.ms == "notebook")
    }
    if response == "l2":
        found["ap"] = steps.activation_plateau_step(d, last, threshold=threshold)
    found["auc"] = steps.chord_area_step(d, last, notebook=config.statistics.auc == "notebook")
    found["nl"] = steps.non_linearity_step(d, last)
    return found
