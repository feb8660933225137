"""From curves to step values: every statistic of every response it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from plateau_lens._errors import ConfigError
from plateau_lens.steps.registry import Curves, Statistic, StepValues

if TYPE_CHECKING:
    import polars as pl


PATH = ("experiment", "kind", "schedule", "pair", "last_step")
"""What a row says of its path."""


def measure(
    table: pl.DataFrame,
    statistics: Mapping[str, Statistic],
    responses: Sequence[str],
    *,
    n_steps: int,
    step_size: float,
) -> pl.DataFrame:
    """The rows of ``steps.parquet``: one a curve, response and statistic.

    Args:
        table: rows of ``curves/part-*.parquet``.
        statistics: label to statistic, every automatic parameter a number.
        responses: labels of the responses, columns of ``table``; null where a curve is not measured by one.
        n_steps: steps of a path.
        step_size: of the absolute schedule, residual-stream units.

    Raises:
        ConfigError: for a statistic that does not give one value a curve.
    """
    import polars as pl

    parts: list[pl.DataFrame] = []
    for response in responses:
        measured = table.filter(pl.col(response).is_not_null())
        where = measured.select(PATH)
        last = measured["last_step"].to_numpy()
        relative = measured["schedule"].to_numpy() == "relative"
        distance = measured["distance"].to_numpy()
        step_length = np.where(relative, distance / n_steps, step_size)
        base_norm = measured["base_norm"].to_numpy() if "base_norm" in measured.columns else None
        d = measured[response].list.to_array(n_steps + 1).to_numpy()
        curves = Curves(d, last, response, step_length, base_norm, distance)
        for label, statistic in statistics.items():
            if statistic.reads(response):
                found = _checked(label, statistic.of(curves), curves)
                parts.append(
                    where.with_columns(
                        pl.lit(response).alias("response"),
                        pl.lit(label).alias("statistic"),
                        pl.Series("value", found.value, dtype=pl.Float64),
                        pl.Series("censored", found.censored, dtype=pl.Boolean),
                    )
                )
    return pl.concat(parts) if parts else _nothing(table.select(PATH))


def _nothing(where: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    columns = {"response": pl.String, "statistic": pl.String, "value": pl.Float64, "censored": pl.Boolean}
    return where.head(0).with_columns(pl.lit(None, dtype=each).alias(name) for name, each in columns.items())


def _checked(label: str, found: object, curves: Curves) -> StepValues:
    """A statistic of the user's own may return anything; say so before it becomes a number."""
    if not isinstance(found, StepValues):
        raise ConfigError(f"statistic {label!r} returned {type(found).__name__}, expected StepValues")
    flags = found.censored
    assert flags is not None
    if found.value.shape != (len(curves),) or flags.shape != (len(curves),):
        raise ConfigError(
            f"statistic {label!r} returned {found.value.shape} values and {flags.shape} flags for {len(curves)} "
            "curves; expected one of each a curve"
        )
    if not np.isfinite(found.value[~np.isnan(found.value)]).all():
        raise ConfigError(
            f"statistic {label!r} returned an infinite value; NaN is undefined, and what lies behind a path is "
            "censored, with the last usable step as its value"
        )
    return found
