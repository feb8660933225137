"""The KL null: KL of pushes right before the final norm and the unembedding, beside those at the run's site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics import uncensored
from plateau_lens.numerics.intervals import Estimate, distance_interval, percentile_interval, share_interval
from plateau_lens.numerics.largest_gain import largest_gain
from plateau_lens.numerics.rank_correlation import spearman
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import ends, of, pair_bootstrap
from plateau_lens.report.figures.kl_null import KindAtBoth, draw_both
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import Group, RunData, Sample
from plateau_lens.report.sections.registry import Drawing, Section, legible, section

FIGURE = "figure-kl-null"
AT_END, TOWARD = "at-end", "toward"
"""Names of the two experiments that are compared."""
RESPONSE, STATISTIC, SCHEDULE = "kl", "ms", "relative"
CURVES = {"gain_kl_end": (AT_END, "kl"), "gain_kl_site": (TOWARD, "kl"), "gain_l2_site": (TOWARD, "l2")}
"""Whose largest gain is told: column to experiment and response."""
WITHIN = (5, 10)
"""Steps by which a pair's two MS steps may differ to be counted as near."""
WINDOW = 0.1
"""Length of the stretch that a largest gain is on, as a share of the path."""
ESTIMATES = (
    *(f"{name}_{where}" for name in ("mean", "median") for where in ("end", "site")),
    "ks",
    "spearman",
    *(f"within_{steps}" for steps in WITHIN),
    *("unseen_end", "unseen_site"),
    *CURVES,
)
SCHEMA = {
    "kind": pl.String,
    "n": pl.Int64,
    **{column: pl.Float64 for name in ESTIMATES for column in (name, f"{name}_low", f"{name}_high")},
}


class Steps(NamedTuple):
    """MS steps of KL of one kind, pair by pair."""

    kind: str
    end: Float[np.ndarray, " pair"]
    site: Float[np.ndarray, " pair"]
    unseen_end: Bool[np.ndarray, " pair"]
    """Whose largest rise is at the last step, or none is steep enough."""
    unseen_site: Bool[np.ndarray, " pair"]


@section("kl-null")
class KLNull(Section):
    """What KL looks like, and where it is steepest, with no block between the push and the output."""

    title = "KL of a push at the end"
    place = 64

    def __init__(self, data: RunData):
        super().__init__(data)
        self.labels = {name: _label_of(data, name) for name in (AT_END, TOWARD)}
        self.steps = list(self._steps())
        if not self.steps:
            raise RunFolderError(f"{AT_END} and {TOWARD} share no kind")
        self.frame = pl.DataFrame([self._row(each) for each in self.steps], schema=SCHEMA)

    def tables(self) -> Sequence[render.Table]:
        """Where KL is steepest at either place, and how much of it is gained on a short stretch."""
        near = tuple(f"within {steps} steps" for steps in WITHIN)
        rows = list(self.frame.iter_rows(named=True))
        cells = [
            (
                str(row["kind"]),
                str(row["n"]),
                *(render.interval(*of(row, name), 1) for name in ESTIMATES[:4]),
                *(render.interval(*of(row, name), 2) for name in ("ks", "spearman")),
                *(render.share_interval(*of(row, f"within_{steps}")) for steps in WITHIN),
                *(render.share(float(row[f"unseen_{where}"])) for where in ("end", "site")),
            )
            for row in rows
        ]
        columns = ("kind", "n", "mean, end", "mean, site", "median, end", "median, site")
        gains = [(str(row["kind"]), *(render.interval(*of(row, name), 2) for name in CURVES)) for row in rows]
        unit, share = definitions.unit(SCHEDULE, self.data.config), self._window / self.data.config.n_steps
        return [
            render.Table(
                f"MS step of KL: pushed at the end and at {self.data.config.site}",
                (*columns, "KS", "Spearman", *near, "not seen, end", "not seen, site"),
                tuple(cells),
                f"Relative schedule, {unit}.",
            ),
            render.Table(
                "How step-like: the largest share of its end value that a curve gains on a tenth of the path",
                ("kind", "KL, pushed at the end", "KL, pushed at the site", "L2, pushed at the site"),
                tuple(gains),
                f"Median over pairs. A straight line has {share:.2f}, a parabola {1 - (1 - share) ** 2:.2f}, a single "
                "step 1.",
            ),
        ]

    def notes(self) -> Sequence[str]:
        """What each number means."""
        return [
            "end: pushed at the last block's output, where only the final norm and the unembedding are left; site: "
            f"pushed at {self.data.config.site}, as in the rest of this run. A pair has the same prompt at both, and "
            "its model-generated target comes from the same other prompt; its random targets are independent draws, "
            "each with mean and covariance of the activations at its own place.",
            "mean, median: of the MS step, the step of KL's largest rise, one a pair; not seen: share of pairs whose "
            "largest rise is at the last step, or is less than the least slope; they count with the last step. "
            "KS: Kolmogorov-Smirnov distance between the two distributions of MS steps, 0 (the same) to 1 "
            "(disjoint). Spearman: rank correlation of a pair's two "
            "MS steps, 1 where they put the pairs in one order, 0 where one says nothing of the other. within 5, "
            "within 10 steps: share of pairs whose two MS steps differ by no more.",
            "Largest gain: a curve's largest rise over "
            f"{self._window} consecutive steps, divided by its value at the last step. It can be above 1 where a curve "
            "falls again on its way.",
            "[low, high]: 95 % intervals over resamples of pairs; Wilson's for shares.",
        ]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"kl-null": self.frame}

    def drawings(self) -> Iterator[Drawing]:
        """Mean curves on the left, pairs on the right."""
        shown = set(legible(self.data))
        means = {name: self._mean_curves(label) for name, label in self.labels.items()}
        kinds = [
            KindAtBoth(each.kind, means[AT_END][each.kind], means[TOWARD][each.kind], each.end, each.site)
            for each in self.steps
            if each.kind in shown
        ]
        site = self.data.config.site
        figure = draw_both(
            kinds,
            kind_styles(self.data.kinds),
            names=("at the end", f"at {site}"),
            within=WITHIN[-1],
            n_steps=self.data.config.n_steps,
        )
        caption = (
            "KL of pushes at the last block's output, right before the final norm and the unembedding, beside "
            f"KL of pushes at {site}; relative schedule. Left: mean over pairs at each step, divided by the mean at "
            "the last step; grey: what a straight line and a parabola would be. Right: a dot is a pair, with its MS "
            f"step at the site (across) and at the end (up), or the last step ({self.data.config.n_steps}) where none "
            f"was seen; on the diagonal the two are equal, and within the shaded band they differ by "
            f"{WITHIN[-1]} steps or fewer. "
            "A model-generated target comes from the same other prompt at both places; random targets are independent "
            "draws."
        )
        yield Drawing(FIGURE, self.title, caption, figure)

    @property
    def _window(self) -> int:
        return max(1, round(WINDOW * self.data.config.n_steps))

    def _steps(self) -> Iterator[Steps]:
        found: list[dict[str, Sample]] = []
        for label in self.labels.values():
            group = Group(label, STATISTIC, RESPONSE, SCHEDULE)
            if group not in self.data.samples:
                raise RunFolderError(self.data.lacks(group))
            found.append({sample.kind: sample for sample in self.data.samples[group]})
        at_end, at_site = found
        for kind in self.data.kinds:
            if kind in at_end and kind in at_site:
                end, site = at_end[kind], at_site[kind]
                yield Steps(kind, end.value, site.value, end.censored, site.censored)

    def _row(self, steps: Steps) -> dict[str, object]:
        pairs = pair_bootstrap(len(steps.end), self.data.config.seed)
        n = int((~np.isnan(steps.end) & ~np.isnan(steps.site)).sum())
        row: dict[str, object] = {"kind": steps.kind, "n": n}
        for where, value in (("end", steps.end), ("site", steps.site)):
            defined = int((~np.isnan(value)).sum())
            row |= ends(f"mean_{where}", percentile_interval(uncensored.mean(pairs, value), defined))
            row |= ends(f"median_{where}", percentile_interval(uncensored.median(pairs, value), defined))
        row |= ends("ks", distance_interval(*uncensored.ks(pairs, steps.end, steps.site), n, most=1.0))
        row |= ends("spearman", percentile_interval(spearman(pairs, steps.end, steps.site), n))
        apart = np.abs(steps.end - steps.site)
        for within in WITHIN:
            row |= ends(f"within_{within}", share_interval(apart[~np.isnan(apart)] <= within))
        row |= ends("unseen_end", share_interval(steps.unseen_end))
        row |= ends("unseen_site", share_interval(steps.unseen_site))
        for column, (name, response) in CURVES.items():
            row |= ends(column, self._gain(self.labels[name], response, steps.kind))
        return row

    def _gain(self, experiment: str, response: str, kind: str) -> Estimate:
        """Median of the largest gain over the pairs of one kind."""
        for curves in self.data.curves(experiment, SCHEDULE, response):
            if curves.kind == kind:
                gain = largest_gain(curves.response, self._window)
                pairs = pair_bootstrap(len(gain), self.data.config.seed)
                return percentile_interval(uncensored.median(pairs, gain), int((~np.isnan(gain)).sum()))
        return Estimate(float("nan"), float("nan"), float("nan"))

    def _mean_curves(self, experiment: str) -> dict[str, Float[np.ndarray, " step"]]:
        found: dict[str, Float[np.ndarray, " step"]] = {}
        for curves in self.data.curves(experiment, SCHEDULE, RESPONSE):
            whole = curves.response[np.isfinite(curves.response).all(axis=1)].astype(np.float64)
            mean = whole.sum(axis=0)
            found[curves.kind] = mean / mean[-1] if mean[-1] > 0 else np.full_like(mean, np.nan)
        return found


def _label_of(data: RunData, name: str) -> str:
    """Label of the first experiment of a name, of those at the run's site or at the one that is its own.

    Raises:
        RunFolderError: for a run without.
    """
    for label, made in data.experiments.items():
        if made.name == name and (made.site is None) == (name == TOWARD):
            return label
    raise RunFolderError(f"the run has no experiment {name!r}")
