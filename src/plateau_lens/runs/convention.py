"""Two conventions: the paper's definitions, and what the authors' notebooks did where they differ.

``convention: notebook`` in a configuration is shorthand for the keys below, each of which can be set by itself to
see which choice moves which number. It changes n_steps and step_size as they are given (a step_size of ``auto`` stays
that), and fills in the rest where nothing else is asked for. Source: jettjaniak/teren, branch explorations,
September 2024.

=================================== ========================== =========================================
key                                 paper (default)            notebook
=================================== ========================== =========================================
n_steps                             100 intervals              99 (a grid of 100 points, ends included)
step_size                           as given, 0.5 on GPT-2     100/99 of it, 0.50505
cut_size                            step_size                  the step_size as given
statistics.ms.convention            earliest of equal slopes   the last one
statistics.auc.convention           triangle on n, n >= 1      triangle on n + 1, n >= 5
statistics.nl-value.convention      n                          n - 1; the number of points if none departs
kinds: random.divisor               N - 1                      N
kinds: synthetic-baseline.dead      excluded                   may be chosen
kinds: synthetic-baseline.collisions forbidden                 the later value overwrites the earlier
=================================== ========================== =========================================

Where nothing was seen, the notebooks give n_steps (MS) and the number of points (NL). So do we, of a path that was
looked at to its end. Of one that was cut at its target, the last step that was looked at is given, as by the paper.

Not offered: the repair of the covariance to positive definite (draws here need no factorisation), and AP plots clipped
at 40.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plateau_lens._errors import ConfigError, nearest

CONVENTIONS = ("paper", "notebook")

_KINDS: dict[str, dict[str, Any]] = {
    "random": {"divisor": "n"},
    "synthetic-baseline": {"dead": "included", "collisions": "overwrite"},
}
_STATISTICS: dict[str, dict[str, Any]] = {
    name: {"convention": "notebook"} for name in ("ms", "auc", "nl-value")
}


def apply_convention(table: dict[str, Any], convention: object) -> None:
    """Write a convention's keys into a configuration table; ``paper`` is what the defaults are.

    Raises:
        ConfigError: for an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise ConfigError(
            f"convention: {convention!r} is not one of {', '.join(CONVENTIONS)}{nearest(str(convention), CONVENTIONS)}"
        )
    if convention == "paper":
        return
    intervals, step_size = table.get("n_steps", 100), table.get("step_size", "auto")
    statistics, kinds = table.get("statistics") or {}, table.get("kinds") or {}
    if (
        not isinstance(intervals, int)
        or not isinstance(statistics, Mapping)
        or not isinstance(kinds, Mapping)
    ):
        return  # not a table that validates; what is wrong is said there
    table["n_steps"] = intervals - 1
    if isinstance(step_size, (int, float)):
        table["step_size"] = step_size * intervals / (intervals - 1)
        table.setdefault("cut_size", step_size)
    table["statistics"] = {
        label: {**_STATISTICS.get(str(given.get("statistic", label)), {}), **given}
        if isinstance(given, Mapping)
        else given
        for label, given in statistics.items()
    }
    table["kinds"] = {
        label: {**_KINDS.get(str(given.get("kind", label)), {}), **given}
        if isinstance(given, Mapping)
        else given
        for label, given in kinds.items()
    }
