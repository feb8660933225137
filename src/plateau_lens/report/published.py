"""The authors' own numbers for GPT-2, to stand beside a run of the same set-up."""

from __future__ import annotations

from typing import NamedTuple

from plateau_lens.experiments.config import RunConfig
from plateau_lens.report import render
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.tables import kind_rows


class Published(NamedTuple):
    """One published number: mean ± sd over prompts, and the KS distance to model-generated."""

    group: Group
    kind: str
    mean: float
    sd: float
    ks: float | None = None


_MS_RELATIVE = Group("toward", "ms", "l2", "relative")
_MS_RELATIVE_KL = Group("toward", "ms", "kl", "relative")
_MS_ABSOLUTE = Group("toward", "ms", "l2", "absolute")
_MS_ABSOLUTE_KL = Group("toward", "ms", "kl", "absolute")
_AUC_RELATIVE = Group("toward", "auc", "l2", "relative")
_NL_RELATIVE = Group("toward", "nl", "l2", "relative")

VALUES = (
    Published(_MS_RELATIVE, "model-generated", 51.60, 7.82),
    Published(_MS_RELATIVE, "random", 65.01, 11.19, 0.61),
    Published(_MS_RELATIVE, "synthetic-baseline", 56.87, 11.40, 0.26),
    Published(_MS_RELATIVE, "synthetic-structured", 55.69, 11.53, 0.21),
    Published(_MS_RELATIVE, "sae-reconstruction", 53.34, 8.39, 0.11),
    Published(_MS_RELATIVE_KL, "model-generated", 56.34, 9.08),
    Published(_MS_RELATIVE_KL, "random", 71.83, 11.75, 0.69),
    Published(_MS_RELATIVE_KL, "synthetic-baseline", 62.41, 12.05, 0.32),
    Published(_MS_RELATIVE_KL, "synthetic-structured", 61.86, 13.51, 0.26),
    Published(_MS_ABSOLUTE, "model-generated", 41.12, 10.53),
    Published(_MS_ABSOLUTE, "random", 52.06, 10.94, 0.43),
    Published(_MS_ABSOLUTE, "synthetic-structured", 43.29, 12.87, 0.10),
    Published(_MS_ABSOLUTE, "sae-reconstruction", 41.38, 11.23, 0.01),
    Published(_MS_ABSOLUTE_KL, "model-generated", 45.67, 13.13),
    Published(_MS_ABSOLUTE_KL, "random", 57.96, 12.36, 0.46),
    Published(_MS_ABSOLUTE_KL, "synthetic-structured", 48.63, 15.94, 0.13),
    Published(_AUC_RELATIVE, "model-generated", 51.98, 9.64),
    Published(_AUC_RELATIVE, "random", 64.97, 16.01, 0.59),
    Published(_AUC_RELATIVE, "synthetic-baseline", 56.66, 13.20, 0.22),
    Published(_AUC_RELATIVE, "synthetic-structured", 54.84, 15.51, 0.21),
    Published(_NL_RELATIVE, "model-generated", 29.98, 9.95),
    Published(_NL_RELATIVE, "random", 36.33, 12.33, 0.27),
    Published(_NL_RELATIVE, "synthetic-baseline", 37.91, 10.96, 0.37),
    Published(_NL_RELATIVE, "synthetic-structured", 33.69, 13.44, 0.17),
)
"""Source: the authors' notebooks (repository jettjaniak/teren, branch explorations, September 2024)."""

NOTE = (
    "Published: the authors' public notebooks (repository jettjaniak/teren, branch explorations, September "
    "2024), 1000 prompts on the relative and 2000 on the absolute schedule. They differ from this run's "
    "definitions in small ways: 99 intervals of 1.0101 % or 0.50505 a step rather than 100; 99 where no "
    "slope exceeded 0.02; the AUC triangle one step wider than its trapezoid; a covariance divided by N and "
    "repaired to positive definite."
)


def comparable(config: RunConfig) -> bool:
    """Whether a run is of the set-up that the numbers were published for: GPT-2 small, its second block."""
    return (
        config.model.source in {"gpt2", "openai-community/gpt2"} and config.site == "blocks.1.hook_resid_pre"
    )


def table(data: RunData) -> render.Table | None:
    """Published beside measured, for every published number that the run has too."""
    if not comparable(data.config):
        return None
    rows: list[tuple[str, ...]] = []
    for group in dict.fromkeys(each.group for each in VALUES):
        measured = {row["kind"]: row for row in kind_rows(data.samples.get(group, ()), data.reference)}
        rows += [
            (each.kind, group.name, *_published(each), *_measured(measured[each.kind]))
            for each in VALUES
            if each.group == group and each.kind in measured
        ]
    columns = ("kind", "statistic", "published", "KS", "this run", "KS")
    unit = "Toward; mean ± sd, steps."
    return render.Table("Beside the published GPT-2 values", columns, tuple(rows), unit) if rows else None


def _published(each: Published) -> tuple[str, str]:
    return render.spread(each.mean, each.sd), render.UNDEFINED if each.ks is None else f"{each.ks:.2f}"


def _measured(row: dict[str, object]) -> tuple[str, str]:
    mean, sd, ks = (float(str(row[name])) for name in ("mean", "sd", "ks"))
    return render.spread(mean, sd), render.number(ks, 2)
