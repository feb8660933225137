"""The authors' own numbers for GPT-2, to stand beside a run of the same set-up."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import polars as pl

from plateau_lens.numerics import uncensored
from plateau_lens.report import render
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.runs.config import RunConfig
from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.registry import STATISTICS


class Published(NamedTuple):
    """What was published of one kind: numbers over prompts, in steps; NaN where not published."""

    group: Group
    kind: str
    n: int | None
    """Prompts; none where the source does not say."""
    mean: float = math.nan
    sd: float = math.nan
    ks: float = math.nan
    """Two-sample Kolmogorov-Smirnov distance to model-generated."""
    median: float = math.nan
    note: str = ""


_MS_RELATIVE = Group("toward", "ms", "l2", "relative")
_MS_RELATIVE_KL = Group("toward", "ms", "kl", "relative")
_MS_ABSOLUTE = Group("toward", "ms", "l2", "absolute")
_MS_ABSOLUTE_KL = Group("toward", "ms", "kl", "absolute")
_AUC_RELATIVE = Group("toward", "auc", "l2", "relative")
_NL_RELATIVE = Group("toward", "nl", "l2", "relative")
_AP_FROM = Group("from", "ap", "l2", "absolute")
_NO_FREQUENCY = "synthetic-baseline with match: none"
_RERUN = "rerun"
_READ_OFF = "read off a figure"

VALUES = (
    Published(_MS_RELATIVE, "model-generated", 1000, 51.60, 7.82),
    Published(_MS_RELATIVE, "random", 1000, 65.01, 11.19, 0.61),
    Published(_MS_RELATIVE, "synthetic-baseline", 1000, 56.87, 11.40, 0.26),
    Published(_MS_RELATIVE, "synthetic-structured", 1000, 55.69, 11.53, 0.21),
    Published(_MS_RELATIVE, "sae-reconstruction", 1000, 53.34, 8.39, 0.11),
    Published(_MS_RELATIVE, _NO_FREQUENCY, None, 55.25, 8.74, 0.19),
    Published(_MS_RELATIVE, "model-generated", None, 51.65, 7.42, note=_RERUN),
    Published(_MS_RELATIVE, "random", None, 64.89, 10.50, 0.62, note=_RERUN),
    Published(_MS_RELATIVE, "synthetic-baseline", None, 57.07, 11.29, 0.27, note=_RERUN),
    Published(_MS_RELATIVE, "synthetic-structured", None, 55.69, 11.31, 0.22, note=_RERUN),
    Published(_MS_RELATIVE_KL, "model-generated", None, 56.34, 9.08),
    Published(_MS_RELATIVE_KL, "random", None, 71.83, 11.75, 0.69),
    Published(_MS_RELATIVE_KL, "synthetic-baseline", None, 62.41, 12.05, 0.32),
    Published(_MS_RELATIVE_KL, "synthetic-structured", None, 61.86, 13.51, 0.26),
    Published(_MS_ABSOLUTE, "model-generated", 2000, 41.12, 10.53),
    Published(_MS_ABSOLUTE, "random", 2000, 52.06, 10.94, 0.43),
    Published(_MS_ABSOLUTE, "synthetic-structured", 2000, 43.29, 12.87, 0.10),
    Published(_MS_ABSOLUTE, "sae-reconstruction", 2000, 41.38, 11.23, 0.01),
    Published(_MS_ABSOLUTE_KL, "model-generated", 2000, 45.67, 13.13),
    Published(_MS_ABSOLUTE_KL, "random", 2000, 57.96, 12.36, 0.46),
    Published(_MS_ABSOLUTE_KL, "synthetic-structured", 2000, 48.63, 15.94, 0.13),
    Published(_AUC_RELATIVE, "model-generated", None, 51.98, 9.64),
    Published(_AUC_RELATIVE, "random", None, 64.97, 16.01, 0.59),
    Published(_AUC_RELATIVE, "synthetic-baseline", None, 56.66, 13.20, 0.22),
    Published(_AUC_RELATIVE, "synthetic-structured", None, 54.84, 15.51, 0.21),
    Published(_NL_RELATIVE, "model-generated", None, 29.98, 9.95),
    Published(_NL_RELATIVE, "random", None, 36.33, 12.33, 0.27),
    Published(_NL_RELATIVE, "synthetic-baseline", None, 37.91, 10.96, 0.37),
    Published(_NL_RELATIVE, "synthetic-structured", None, 33.69, 13.44, 0.17),
    Published(_AP_FROM, "model-generated", None, median=16, note=_READ_OFF),
    Published(_AP_FROM, "random", None, median=9, note=_READ_OFF),
    Published(_AP_FROM, "synthetic-baseline", None, median=6, note=_READ_OFF),
    Published(_AP_FROM, "synthetic-structured", None, median=8, note=_READ_OFF),
)

SOURCE = "Published: the authors' public notebooks (repository jettjaniak/teren, branch explorations, September 2024)."
NOTE = (
    "The notebooks differ from the paper's definitions in small ways: 99 intervals of 1.0101 % or 0.50505 a "
    "step rather than 100; 99 where no slope exceeded 0.02; the AUC triangle one step wider than its "
    "trapezoid; a covariance divided by N and repaired to positive definite; dead latents and collisions in "
    "the baseline; a top cosine of 0.42 in synthetic-structured, where a run measures its own unless told. "
    "Published numbers are plain ones, of values as they stand; where paths stop at their targets, a run's tables "
    "treat censored values as censored and can differ for that. Beside the published GPT-2 values, and in "
    "published.csv, a run's numbers are plain ones too."
)

_NUMBERS = ("n", "mean", "sd", "median", "ks")
_INTERVALS = (100, 99)
"""Of a path, by the paper and by the notebooks."""
_AS_PUBLISHED = {
    "synthetic-baseline": {"neighbours": 10, "code": "base"},
    "synthetic-structured": {"neighbours": 100, "code": "base"},
}
"""What a kind's parameters must be, where a run gives them."""


def comparable(config: RunConfig) -> bool:
    """Whether a run is of the set-up that the numbers were published for.

    GPT-2 small from the second block's input to the last one's output, its residual-stream SAE, 10-token
    prompts of OpenWebText.
    """
    return (
        config.model.source in {"gpt2", "openai-community/gpt2"}
        and config.site == "blocks.1.hook_resid_pre"
        and config.read_site in {"auto", "blocks.11.hook_resid_post"}
        and config.prompts.n_ctx == 10
        and "openwebtext" in config.prompts.source.lower()
        and (config.sae is None or config.sae.source == "gpt2-small-res-jb")
        and config.n_steps in _INTERVALS
    )


def beside(config: RunConfig, group: Group, *, reruns: bool = False) -> list[tuple[str, Published]]:
    """What was published of a group, by the label that the kind has in this run.

    Args:
        config: the run's; one that is not ``comparable`` has nothing published.
        group: what to look up.
        reruns: also the values of the authors' second run.
    """
    if not (comparable(config) and _same_scale(config, group)):
        return []
    names = {label: _published_kind(config, label) for label in config.kinds}
    return [
        (label, each)
        for each in VALUES
        if each.group == group and (reruns or each.note != _RERUN)
        for label, name in names.items()
        if name == each.kind
    ]


def frame(data: RunData) -> pl.DataFrame:
    """Published beside measured, one row a published number that the run has too; NaN is not published.

    Columns: the group, kind, note, then n, mean, sd, median and ks as published (``published_``) and of this
    run, and the source. The run's are plain numbers, a censored value at its bound, as the published ones are.
    """
    rows = [
        {
            **group._asdict(),
            "kind": label,
            "note": each.note,
            **{f"published_{name}": getattr(each, name) for name in _NUMBERS},
            **plain[label],
            "source": SOURCE.removeprefix("Published: "),
        }
        for group in data.samples
        if (found := beside(data.config, group, reruns=True)) and (plain := _plain(data, group))
        for label, each in found
        if label in plain
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _plain(data: RunData, group: Group) -> dict[str, dict[str, float]]:
    """What this run's values come to as the authors' did."""
    values = {sample.kind: sample for sample in data.samples[group]}
    against = values[data.reference].value if data.reference in values else np.array([])
    found: dict[str, dict[str, float]] = {}
    for kind, sample in values.items():
        numbers = asdict(uncensored.summarise(sample.value, sample.censored))
        numbers["ks"] = uncensored.ks_distance(sample.value, against)
        found[kind] = {name: numbers[name] for name in _NUMBERS}
    return found


def table(data: RunData) -> render.Table | None:
    """The same, as it is shown; none for a run of another set-up."""
    found = frame(data)
    if found.is_empty():
        return None
    rows = tuple(
        (
            " ".join(filter(None, (row["kind"], row["note"] and f"({row['note']})"))),
            data.called(Group(*(row[name] for name in Group._fields))),
            _shown(row["published_mean"], row["published_sd"], row["published_median"]),
            render.number(row["published_ks"], 2),
            _shown(row["mean"], row["sd"], row["median"] if math.isnan(row["published_mean"]) else math.nan),
            render.number(row["ks"], 2),
        )
        for row in found.iter_rows(named=True)
    )
    columns = ("kind", "statistic", "published", "KS", "this run", "KS")
    return render.Table("Beside the published GPT-2 values", columns, rows, "Mean ± sd, or median; steps.")


def cells(each: Published | None) -> tuple[str, str]:
    """What was published, and its KS distance, as they are shown; dashes for nothing."""
    if each is None:
        return render.UNDEFINED, render.UNDEFINED
    return _shown(each.mean, each.sd, each.median), render.number(each.ks, 2)


def sizes(found: list[tuple[str, Published]]) -> str:
    """How many prompts, where the source says so, or what else is to be known of the numbers."""
    notes = [f"n = {each.n}" for _, each in found if each.n] + [each.note for _, each in found if each.note]
    return "; ".join(dict.fromkeys(notes))


def _shown(mean: float, sd: float, median: float) -> str:
    return render.spread(mean, sd) if math.isnan(median) else f"median {median:g}"


def _same_scale(config: RunConfig, group: Group) -> bool:
    steps = tuple(0.5 * 100 / intervals for intervals in _INTERVALS)
    if group.schedule == "absolute" and not _is_any(config.step_size, steps):
        return False
    made = STATISTICS.make(config.statistics).get(group.statistic)
    return not isinstance(made, ActivationPlateau) or _is_any(made.threshold, (20.0,))


def _is_any(number: float | str, wanted: tuple[float, ...]) -> bool:
    return isinstance(number, int | float) and any(
        math.isclose(number, each, rel_tol=1e-4) for each in wanted
    )


def _published_kind(config: RunConfig, label: str) -> str | None:
    """The published name of what a label stands for; none if its parameters are others."""
    given = config.kinds[label]
    name = str(given.get("kind", label))
    expected = _AS_PUBLISHED.get(name, {})
    if any(given.get(key, value) != value for key, value in expected.items()):
        return None
    unmatched = name == "synthetic-baseline" and given.get("match", "frequency") == "none"
    return _NO_FREQUENCY if unmatched else name
