"""What is said of each kind in a group: its numbers, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import polars as pl

from plateau_lens.numerics import survival
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.excess import Excess
from plateau_lens.numerics.intervals import (
    UNDEFINED,
    Estimate,
    distance_interval,
    percentile_interval,
    share_interval,
)
from plateau_lens.numerics.lengths import survival as survival_of
from plateau_lens.numerics.survival import Distance, Survival, grid_of
from plateau_lens.report.run_data import Group, RunData, Sample


def _with_ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


KIND_SCHEMA = {
    "kind": pl.String,
    **dict.fromkeys(("n", "n_defined"), pl.Int64),
    **dict.fromkeys(
        (
            *_with_ends("mean"),
            "sd",
            "q25",
            *_with_ends("median"),
            "q75",
            *_with_ends("censored"),
            *_with_ends("ks"),
            *_with_ends("wasserstein"),
            "plain_mean",
        ),
        pl.Float64,
    ),
}
"""Columns of a row: ``_low`` and ``_high`` are the ends of a 95 % interval, ``plain_mean`` is the mean of the values as
they stand, a censored one at its bound."""


DISTANCES: dict[str, Distance] = {"ks": survival.ks, "wasserstein": survival.wasserstein}


@lru_cache(maxsize=2)
def pair_bootstrap(n_pairs: int, seed: int) -> PairBootstrap:
    """The resamples of a run's pairs, drawn once for all that is computed of them."""
    return PairBootstrap(n_pairs, seed=seed)


def survivals(samples: Sequence[Sample], *, seed: int, end: int | None) -> dict[str, Survival]:
    """The survival function of each kind of a group, on shared resamples, so that whatever is compared is paired.

    Args:
        samples: of one group.
        seed: of the resamples.
        end: see `RunData.end_of`.
    """
    grid = grid_of([sample.value for sample in samples], end)
    return {
        sample.kind: survival_of(
            pair_bootstrap(sample.value.size, seed),
            sample.value,
            sample.censored,
            grid=grid,
            # Lengths are in steps, and say something of values in steps.
            length=None if end is None else sample.last,
        )
        for sample in samples
    }


def kind_rows(
    samples: Sequence[Sample], reference: str | None, *, seed: int, end: int | None
) -> list[dict[str, object]]:
    """One row a kind (``KIND_SCHEMA``): its summary and its distances to the reference kind."""
    found = survivals(samples, seed=seed, end=end)
    against = found.get(reference) if reference else None
    return [_row(sample, found[sample.kind], against) for sample in samples]


def group_rows(data: RunData, group: Group) -> list[dict[str, object]]:
    """`kind_rows` of one group of a run."""
    end = data.end_of(group.statistic)
    return kind_rows(data.samples[group], data.reference, seed=data.config.seed, end=end)


def group_survivals(data: RunData, group: Group, kinds: Iterable[str] | None = None) -> dict[str, Survival]:
    """`survivals` of one group of a run, of some of its kinds if asked."""
    samples = data.samples[group] if kinds is None else data.only(group, kinds)
    return survivals(samples, seed=data.config.seed, end=data.end_of(group.statistic))


def distances(own: Survival, against: Survival) -> dict[str, Estimate]:
    """Distances of two kinds: ``ks``, 0..1, and ``wasserstein``, in the values' unit."""
    widest = float(own.grid[-1] - own.grid[0])
    return {
        name: distance_interval(
            distance(own, against), distance(own, against, noise=True), min(own.n, against.n), most=most
        )
        for (name, distance), most in zip(DISTANCES.items(), (1.0, widest), strict=True)
    }


def beyond_noise(far: Excess, plain: Estimate) -> Estimate:
    """A distance less what noise makes of it, in the interval of the distance: both are of the true one.

    Args:
        far: the distance beyond noise.
        plain: the distance itself, of the same two kinds.
    """
    value = far.value
    return Estimate(value, min(plain.low, value), max(plain.high, value))


def _row(sample: Sample, own: Survival, against: Survival | None) -> dict[str, object]:
    defined = sample.value[~np.isnan(sample.value)]
    to_reference = {} if against is None else distances(own, against)
    return {
        "kind": sample.kind,
        "n": sample.value.size,
        "n_defined": own.n,
        **ends("mean", percentile_interval(own.mean(), own.n)),
        "sd": own.sd(),
        "q25": float(own.quantile(0.25)[0]),
        **ends("median", percentile_interval(own.quantile(0.5), own.n)),
        "q75": float(own.quantile(0.75)[0]),
        **ends("censored", share_interval(sample.censored)),
        **ends("ks", to_reference.get("ks", UNDEFINED)),
        **ends("wasserstein", to_reference.get("wasserstein", UNDEFINED)),
        "plain_mean": float(defined.mean()) if defined.size else float("nan"),
    }


def ends(name: str, found: Estimate) -> dict[str, float]:
    """An estimate as the columns ``name``, ``name_low`` and ``name_high``."""
    return dict(zip(_with_ends(name), found, strict=True))


def of(row: Mapping[str, object], name: str) -> Estimate:
    """The estimate of that name in a row."""
    return Estimate(*(float(str(row[column])) for column in _with_ends(name)))
