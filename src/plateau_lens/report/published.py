"""The authors' own numbers for GPT-2, table by table, to stand beside a run's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from plateau_lens.glossary import PAPER, Schedule
from plateau_lens.report import render
from plateau_lens.report.paper_kinds import FOUR
from plateau_lens.report.run_data import Group
from plateau_lens.runs.config import RunConfig
from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.registry import STATISTICS

NOTEBOOKS = "the authors' notebooks (jettjaniak/teren, branch explorations)"


class Number(NamedTuple):
    """What was published of one kind, over 1,000 perturbations, in steps; NaN where it was not."""

    mean: float = math.nan
    sd: float = math.nan
    ks: float = math.nan
    """Two-sample Kolmogorov-Smirnov distance to model-generated."""
    median: float = math.nan


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper: a statistic by kind, on one or both schedules."""

    name: str
    """As the paper has it, e.g. ``Table B.1``."""
    statistic: str
    response: str
    schedules: tuple[Schedule, ...]
    numbers: Mapping[Schedule, Mapping[str, Number]] = field(
        default_factory=dict[Schedule, Mapping[str, Number]]
    )
    """A schedule's numbers by the name of the kind; none for a table whose numbers are of another rule."""
    experiment: str = "toward"
    remark: str = ""
    """What is to be known of it."""
    origin: str = ""
    """Where the numbers are from; the paper's table of that name unless given."""
    exactly: bool = False
    """Whether it is about its own kinds alone."""

    @property
    def source(self) -> str:
        """What to cite."""
        return self.origin or f"{PAPER}, {self.name}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of its kinds, in its order."""
        return tuple(dict.fromkeys(kind for each in self.numbers.values() for kind in each)) or FOUR

    def group(self, schedule: Schedule) -> Group:
        """What of a run stands beside a schedule's numbers."""
        return Group(self.experiment, self.statistic, self.response, schedule)


def _of(kinds: Iterable[str], *numbers: tuple[float, ...]) -> dict[str, Number]:
    return {kind: Number(*each) for kind, each in zip(kinds, numbers, strict=True)}


_SIX = (*FOUR, "synthetic-random", "structured-without-cosine")
_RECONSTRUCTION = ("model-generated", "random", "sae-reconstruction")

TABLES = (
    PaperTable(
        "Table 1",
        "ms",
        "l2",
        ("absolute",),
        {
            "absolute": _of(
                FOUR, (41.11, 10.40), (52.49, 10.21, 0.45), (49.61, 13.25, 0.28), (43.48, 12.79, 0.11)
            )
        },
    ),
    PaperTable(
        "Table A.1",
        "ms",
        "l2",
        ("absolute", "relative"),
        {
            "absolute": _of(
                _SIX,
                (41.21, 10.32),
                (52.49, 10.34, 0.44),
                (49.88, 12.60, 0.31),
                (43.45, 12.78, 0.11),
                (51.30, 10.25, 0.39),
                (50.17, 11.96, 0.31),
            ),
            "relative": _of(
                _SIX,
                (51.65, 7.42),
                (64.89, 10.50, 0.62),
                (57.07, 11.29, 0.27),
                (55.69, 11.31, 0.22),
                (55.25, 8.74, 0.19),
                (54.47, 10.68, 0.17),
            ),
        },
    ),
    PaperTable(
        "Table B.1",
        "auc",
        "l2",
        ("absolute", "relative"),
        {
            "absolute": _of(
                FOUR, (41.94, 11.78), (52.73, 13.66, 0.43), (49.31, 14.20, 0.25), (43.54, 14.99, 0.09)
            ),
            "relative": _of(
                FOUR, (51.98, 9.64), (64.97, 16.01, 0.59), (56.66, 13.20, 0.22), (54.84, 15.51, 0.21)
            ),
        },
    ),
    PaperTable(
        "Table B.2",
        "nl-value",
        "l2",
        ("absolute", "relative"),
        {
            "absolute": _of(
                FOUR, (24.17, 8.87), (29.80, 11.72, 0.22), (32.90, 11.25, 0.40), (26.72, 12.25, 0.11)
            ),
            "relative": _of(
                FOUR, (29.98, 9.95), (36.33, 12.33, 0.27), (37.91, 10.96, 0.37), (33.69, 13.44, 0.17)
            ),
        },
        remark=(
            "The numbers that the paper prints are those of the notebooks' rule, by value, which is shown here; the "
            "notebooks give n - 1, a run does with convention: notebook alone."
        ),
    ),
    PaperTable(
        "Table B.2 by the rule of the paper's text",
        "nl",
        "l2",
        ("absolute", "relative"),
        remark="By slope, as the paper's text defines it. No numbers of this rule were published.",
    ),
    PaperTable(
        "Table C.1",
        "ms",
        "kl",
        ("absolute", "relative"),
        {
            "absolute": _of(
                FOUR, (45.51, 12.89), (58.54, 12.33, 0.47), (54.79, 14.02, 0.32), (48.79, 15.64, 0.13)
            ),
            "relative": _of(
                FOUR, (56.34, 9.08), (71.83, 11.75, 0.69), (62.41, 12.05, 0.32), (61.86, 13.51, 0.26)
            ),
        },
    ),
    PaperTable(
        "Table D.1",
        "ms",
        "l2",
        ("absolute", "relative"),
        {
            "absolute": _of(_RECONSTRUCTION, (41.11, 10.40), (52.49, 10.21, 0.45), (41.49, 11.34, 0.02)),
            "relative": _of(_RECONSTRUCTION, (51.60, 7.82), (65.01, 11.19, 0.61), (53.34, 8.39, 0.11)),
        },
        exactly=True,
    ),
    PaperTable(
        "Figure 3, as numbers",
        "ap",
        "l2",
        ("absolute",),
        {"absolute": {kind: Number(median=at) for kind, at in zip(FOUR, (16, 9, 6, 8), strict=True)}},
        experiment="from",
        remark="The paper has no table of AP; the medians are read off a figure of the notebooks.",
        origin=NOTEBOOKS,
    ),
)
"""Every table of the paper, in its order. All are over 1,000 perturbations a kind."""

NOTE = (
    f"Published of GPT-2 small, 1,000 perturbations a kind: {PAPER}, and where it has no table {NOTEBOOKS}. The "
    "paper's relative numbers that stand in the notebooks are the same there, and the notebooks' code differs from "
    "the paper's text in small ways: 99 intervals of 1.0101 % or 0.50505 a step rather than 100 of 1 % or 0.5; 99 "
    "where no slope exceeded 0.02; the AUC triangle one step wider than its trapezoid, from step 5 on; NL by value; "
    "a covariance divided by N and repaired to positive definite; dead latents and collisions in the baseline. "
    "Published numbers are plain ones, of values as they stand. A run's are too in the tables laid out as the "
    "paper's: a censored value enters at its bound. The run's other tables treat censored values as censored, and "
    "on the absolute schedule differ for that."
)

_INTERVALS = (100, 99)
"""Of a path, by the paper and by the notebooks."""
_AS_PUBLISHED = {
    "synthetic-baseline": {"neighbours": 10, "code": "base"},
    "synthetic-structured": {"neighbours": 100, "code": "base"},
    "synthetic-random": {"code": "base"},
    "structured-without-cosine": {"code": "base"},
}
"""What a kind's parameters must be, where a run gives them."""


def of_gpt2(config: RunConfig) -> bool:
    """Whether a run is of the model that the numbers were published for."""
    return config.model.source in {"gpt2", "openai-community/gpt2"}


def comparable(config: RunConfig) -> bool:
    """Whether a run is of the set-up that the numbers were published for.

    GPT-2 small from the second block's input to the last one's output, its residual-stream SAE, 10-token
    prompts of OpenWebText.
    """
    return (
        of_gpt2(config)
        and config.site == "blocks.1.hook_resid_pre"
        and config.read_site in {"auto", "blocks.11.hook_resid_post"}
        and config.prompts.n_ctx == 10
        and "openwebtext" in config.prompts.source.lower()
        and (config.sae is None or config.sae.source == "gpt2-small-res-jb")
        and config.n_steps in _INTERVALS
    )


def beside(config: RunConfig, group: Group) -> dict[str, tuple[Number, str]]:
    """What was published of a group, and where, by the label that the kind has in this run.

    Of a kind that stands in several tables, the number of the first.

    Args:
        config: the run's; one that is not ``comparable`` has nothing published.
        group: what to look up.
    """
    if not (comparable(config) and _same_scale(config, group)):
        return {}
    found: dict[str, tuple[Number, str]] = {}
    for table in TABLES:
        for schedule, numbers in table.numbers.items():
            if table.group(schedule) == group:
                for label in config.kinds:
                    kind = published_kind(config, label)
                    if kind is not None and kind in numbers:
                        found.setdefault(label, (numbers[kind], table.source))
    return found


def published_kind(config: RunConfig, label: str) -> str | None:
    """The published name of what a label stands for; none if its parameters are others."""
    given = config.kinds[label]
    name = str(given.get("kind", label))
    if name == "synthetic-baseline" and given.get("match") == "none":
        name = "synthetic-random"
    expected = _AS_PUBLISHED.get(name, {})
    return name if all(given.get(key, value) == value for key, value in expected.items()) else None


def cells(found: tuple[Number, str] | None) -> tuple[str, str]:
    """What was published, and its KS distance, as they are shown; dashes for nothing."""
    if found is None:
        return render.UNDEFINED, render.UNDEFINED
    number, _ = found
    return shown(number, like=number), render.number(number.ks, 2)


def shown(number: Number, *, like: Number) -> str:
    """Mean and sd, or the median where that is what was published."""
    return render.spread(number.mean, number.sd) if math.isnan(like.median) else f"median {number.median:g}"


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
