"""Two conventions: the paper's definitions, and what the authors' notebooks did where they differ.

``convention: notebook`` in a configuration is shorthand for the keys below, each of which can be set by itself to
see which choice moves which number. Source: jettjaniak/teren, branch explorations, September 2024.

=================================== ========================== =========================================
key                                 paper (default)            notebook
=================================== ========================== =========================================
n_steps                             100 intervals              99 (a grid of 100 points, ends included)
step_size                           as given, 0.5 on GPT-2     100/99 of it, 0.50505
statistics.cut_size                 step_size                  the step_size as given
statistics.ms                       n; NaN without blow-up     n - 1; n_steps without blow-up
statistics.auc                      triangle on n; NaN if flat triangle on n + 1; never undefined
kinds: random.divisor               N - 1                      N
kinds: synthetic-baseline.dead      excluded                   may be chosen
kinds: synthetic-baseline.collisions forbidden                 the later value overwrites the earlier
=================================== ========================== =========================================

Not offered: the repair of the covariance to positive definite (draws here need no factorisation), and AP plots clipped
at 40.
"""

from __future__ import annotations

from typing import Any

from plateau_lens._errors import ConfigError, nearest

CONVENTIONS = ("paper", "notebook")

_KINDS: dict[str, dict[str, Any]] = {
    "random": {"divisor": "n"},
    "synthetic-baseline": {"dead": "included", "collisions": "overwrite"},
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
    intervals = table.get("n_steps", 100)
    table["n_steps"] = intervals - 1
    step_size = table.get("step_size", "auto")
    statistics = dict(table.get("statistics") or {})
    if step_size != "auto":
        table["step_size"] = step_size * intervals / (intervals - 1)
        statistics["cut_size"] = step_size
    statistics |= {"ms": "notebook", "auc": "notebook"}
    table["statistics"] = statistics
    kinds: dict[str, dict[str, Any]] = table.get("kinds") or {}
    for label, parameters in kinds.items():
        kinds[label] = {**_KINDS.get((parameters or {}).get("kind", label), {}), **(parameters or {})}
