"""Figures E.1 and E.2: what real codes are like, and how far those of each synthetic kind are from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plateau_lens._errors import RunFolderError
from plateau_lens.activations.anatomy import BINS
from plateau_lens.numerics import uncensored
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.intervals import UNDEFINED, Estimate, distance_interval, percentile_interval
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import ends, of, pair_bootstrap
from plateau_lens.report.figures.codes import Cosines, draw_cosines, draw_latents
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, legible, section

MEANING = (
    "Real: the codes of the prompts' own activations; a synthetic kind has a code for each of the same prompts. Shares "
    "are of the summed activation of a code's latents; cosines are of decoder directions, -1 to 1. A mean is over all "
    "cosines of all codes, so that codes with many active latents count more, the mean of codes over each code's own "
    "mean; the paper does not say which its values are. KS: the largest gap between the cumulative shares of a kind's "
    "cosines and the real ones, in bins of 0.01; 0 the same, 1 wholly apart. A kind that is made of another prompt's "
    "code takes that prompt whatever its own error is: it compares with the others where no bound is set. Prompts are "
    "what is resampled."
)
PUBLISHED = {
    "active": "about 21",
    "first": "49 %",
    "second": "about 10 %",
    "among": "0.29",
    "to_top": "0.18",
}
"""Of real codes of GPT-2. arXiv 2409.15019v2, appendix E."""


@dataclass(frozen=True)
class Codes:
    """The codes of one kind, a row a prompt; the same prompts for every kind."""

    active: Int[np.ndarray, " prompt"]
    shares: Float[np.ndarray, "prompt rank"]
    """NaN for a rank that a code has no latent of."""
    among: Int[np.ndarray, "prompt bin"]
    """Cosines between all pairs of active latents, counted."""
    to_top: Int[np.ndarray, "prompt bin"]
    """Cosines of the other active latents with the top one, counted."""
    sum_among: Float[np.ndarray, " prompt"]
    sum_to_top: Float[np.ndarray, " prompt"]


class Chosen(NamedTuple):
    """Which prompts are looked at."""

    real: Codes
    """Of the prompts' own activations."""
    made: dict[str, Codes]
    """Of the synthetic kinds, in the order of ``data.kinds``."""
    kept: int
    """Prompts whose activations the SAE reconstructs well enough."""
    measured: int
    bound: float | None
    """Relative error up to which an activation is kept."""
    median_error: float
    """Of all that were measured."""


@section("codes")
class CodesSection(Section):
    """Codes latent by latent: real ones, and how far those of each synthetic kind are from them."""

    title = "Codes of real and synthetic activations"
    place = 82

    def __init__(self, data: RunData):
        super().__init__(data)
        self.found = chosen(data)
        self.frame = summary(self.found, data.config.seed)

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"codes": self.frame}

    def tables(self) -> Sequence[render.Table]:
        """A row a kind: how many latents and how they share; and how they lie to one another."""
        return tables(self.frame)

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return [MEANING, which(self.found), definitions.INTERVALS, f"{render.UNDEFINED}: undefined."]

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """E.1 and E.2."""
        real, made = self.found.real, self.found.made
        shares = [rank[~np.isnan(rank)] for rank in real.shares.T]
        mean = float(real.active.mean())
        yield Drawing(
            "figure-e1",
            "Active latents and their shares",
            "Left: how many latents of the SAE are active on an activation (dashed: the mean, "
            f"{mean:.1f}). Right: share of the latent of each rank, the largest first, in the summed activation of a "
            "code's latents; boxes from the first to the third quartile with the median, whiskers to the last value "
            f"within 1.5 times their length. {which(self.found)}",
            draw_latents(real.active, shares),
            "Figure E.1",
        )
        shown = {kind: each for kind, each in made.items() if kind in legible(self.data)}
        lines = "; a line: a synthetic kind, the codes of the same prompts" if shown else ""
        left_out = f" The tables have {len(made) - len(shown)} kinds more." if len(shown) < len(made) else ""
        yield Drawing(
            "figure-e2",
            "Cosines between active latents",
            "Cosines of decoder directions, between all pairs of active latents of an activation (left) and of the "
            f"active latents with the top one (right), as densities. Filled: real activations{lines}. "
            f"{which(self.found)}{left_out}",
            draw_cosines(
                _counted(real),
                {kind: _counted(each) for kind, each in shown.items()},
                kind_styles(self.data.kinds),
            ),
            "Figure E.2",
        )


def _counted(codes: Codes) -> Cosines:
    return Cosines(codes.among.sum(axis=0), codes.to_top.sum(axis=0))


def chosen(data: RunData) -> Chosen:
    """Read the codes of the prompts whose own activations are reconstructed well enough.

    Raises:
        RunFolderError: if the run has none.
    """
    if not data.folder.has("latents"):
        raise RunFolderError("the run has no codes latent by latent: add the experiment 'codes'")
    # One experiment of the sort is enough for a figure: the first, where there are several.
    rows = data.folder.latents()
    rows = rows.filter(pl.col("experiment") == rows["experiment"].unique(maintain_order=True)[0])
    own = rows.filter(pl.col("kind").is_null())
    bound = data.config.report.reconstruction_error
    error = own["error"].to_numpy()
    kept = np.ones(len(own), dtype=bool) if bound is None else error <= bound
    if not kept.any():
        raise RunFolderError(
            f"no activation is reconstructed with a relative error of {bound:g} or less (the median is "
            f"{float(np.nanmedian(error)):.2f}); set report.reconstruction_error"
        )
    made = {
        kind: _codes(of_it, kept)
        for kind in data.kinds
        if (of_it := rows.filter(pl.col("kind") == kind)).height
    }
    return Chosen(_codes(own, kept), made, int(kept.sum()), len(own), bound, float(np.nanmedian(error)))


def _codes(rows: pl.DataFrame, kept: Bool[np.ndarray, " prompt"]) -> Codes:
    rows = rows.filter(pl.Series(kept))
    ranks = int(rows["shares"].list.len().max() or 0)  # pyright: ignore[reportArgumentType]
    padded = rows["shares"].list.eval(pl.element().cast(pl.Float64)).to_list()
    shares = np.full((len(rows), ranks), np.nan)
    for row, each in enumerate(padded):
        shares[row, : len(each)] = each
    to_top = np.stack(
        [np.histogram(each, bins=BINS, range=(-1.0, 1.0))[0] for each in rows["to_top"].to_list()]
    )
    among = rows["among"].list.to_array(BINS).to_numpy().astype(np.int64)
    pairs = among.sum(axis=1)
    return Codes(
        active=rows["active"].to_numpy(),
        shares=shares,
        among=among,
        to_top=to_top,
        sum_among=np.where(pairs > 0, rows["mean_among"].to_numpy() * pairs, 0.0),
        sum_to_top=rows["to_top"].list.eval(pl.element().cast(pl.Float64)).list.sum().to_numpy(),
    )


def which(found: Chosen) -> str:
    """Whose codes are looked at."""
    if found.bound is None:
        return (
            f"All {found.measured} prompts of the experiment, however well the SAE reconstructs their activations "
            f"(median relative error {found.median_error:.2f})."
        )
    return (
        f"{found.kept} of {found.measured} prompts: those whose activation x the SAE reconstructs with an error "
        f"|x - reconstruction| of at most {found.bound:g} |x - decoder bias| (median of all: "
        f"{found.median_error:.2f}); report.reconstruction_error sets the bound."
    )


def summary(found: Chosen, seed: int) -> pl.DataFrame:
    """One row a kind, null for real codes; ``_low`` and ``_high`` are the ends of 95 % intervals."""
    pairs = pair_bootstrap(found.kept, seed)
    every: list[tuple[str | None, Codes]] = [(None, found.real), *found.made.items()]
    rows: list[dict[str, object]] = []
    for kind, codes in every:
        row: dict[str, object] = {"kind": kind, "n": found.kept}
        active = codes.active.astype(np.float64)
        row |= ends("active_mean", percentile_interval(uncensored.mean(pairs, active), found.kept))
        row |= ends("active_median", percentile_interval(uncensored.median(pairs, active), found.kept))
        for rank, name in enumerate(("first_share", "second_share")):
            share = codes.shares[:, rank] if rank < codes.shares.shape[1] else np.full(found.kept, np.nan)
            n = int((~np.isnan(share)).sum())
            row |= ends(name, percentile_interval(uncensored.mean(pairs, share), n))
        for name, counts, total in (
            ("among", codes.among, codes.sum_among),
            ("to_top", codes.to_top, codes.sum_to_top),
        ):
            count = counts.sum(axis=1)
            row |= ends(f"{name}_mean", _pooled_mean(pairs, total, count))
            of_codes = np.divide(total, count, out=np.full(count.size, np.nan), where=count > 0)
            row |= ends(
                f"{name}_mean_of_codes",
                percentile_interval(uncensored.mean(pairs, of_codes), int((count > 0).sum())),
            )
            apart = UNDEFINED if kind is None else _ks(pairs, counts, getattr(found.real, name))
            row |= ends(f"{name}_ks", apart)
        rows.append(row)
    return pl.DataFrame(rows, schema_overrides={"kind": pl.String})


def _pooled_mean(
    pairs: PairBootstrap, total: Float[np.ndarray, " prompt"], count: Int[np.ndarray, " prompt"]
) -> Estimate:
    """Mean of all cosines of all codes: sums over counts, in each draw."""
    numerator = uncensored.mean(pairs, total)
    denominator = uncensored.mean(pairs, count.astype(np.float64))
    mean = np.divide(numerator, denominator, out=np.full(numerator.size, np.nan), where=denominator > 0)
    return percentile_interval(mean, int((count > 0).sum()))


def _ks(
    pairs: PairBootstrap, own: Int[np.ndarray, "prompt bin"], real: Int[np.ndarray, "prompt bin"]
) -> Estimate:
    """Kolmogorov and Smirnov's distance of counted values, with its interval."""
    gaps: list[np.ndarray] = []
    for counts in pairs.blocks():
        shares = []
        for each in (own, real):
            cumulative = (counts.T.astype(np.float64) @ each).cumsum(axis=1)
            total = cumulative[:, -1:]
            shares.append(
                np.divide(cumulative, total, out=np.full(cumulative.shape, np.nan), where=total > 0)
            )
        gaps.append(shares[0] - shares[1])
    gap = np.concatenate(gaps)
    n = int(min((own.sum(axis=1) > 0).sum(), (real.sum(axis=1) > 0).sum()))
    return distance_interval(np.abs(gap).max(axis=1), np.abs(gap - gap[:1]).max(axis=1), n, most=1.0)


def tables(frame: pl.DataFrame) -> list[render.Table]:
    """As they are shown, with the paper's values of real codes in a row of their own."""

    def row(each: Mapping[str, object], cells: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        return (
            str(each["kind"] or "real"),
            *(render.interval(*of(each, name), digits) for name, digits in cells),
        )

    latents = (("active_mean", 1), ("active_median", 1), ("first_share", 3), ("second_share", 3))
    means = (("among_mean", 3), ("among_mean_of_codes", 3), ("to_top_mean", 3), ("to_top_mean_of_codes", 3))
    distances = (("among_ks", 3), ("to_top_ks", 3))
    every = list(frame.iter_rows(named=True))
    nothing = render.UNDEFINED
    return [
        render.Table(
            "Active latents and their shares",
            ("kind", "active latents, mean", "median", "share of the first", "share of the second"),
            (
                *(row(each, latents) for each in every),
                ("GPT-2, published", PUBLISHED["active"], nothing, PUBLISHED["first"], PUBLISHED["second"]),
            ),
        ),
        render.Table(
            "Cosines between active latents",
            ("kind", "all pairs, mean", "mean of codes", "with the top, mean", "mean of codes"),
            (
                *(row(each, means) for each in every),
                ("GPT-2, published", PUBLISHED["among"], nothing, PUBLISHED["to_top"], nothing),
            ),
        ),
        render.Table(
            "How far cosines are from real ones",
            ("kind", "KS, all pairs", "KS, with the top"),
            tuple(row(each, distances) for each in every if each["kind"] is not None),
        ),
    ]
