"""Hold our notebook variants of MS, AUC and NL against the notebooks' rules, written again, on a run's own curves.

    python scripts/notebook_rules.py runs/big [--curves 2000]

The rules are written from their description (see `plateau_lens.runs.convention`), as plain loops over one curve. Curves
are those of L2 on the relative schedule, toward every kind, so that every step of every path is usable.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from plateau_lens.runs.folder import RunFolder
from plateau_lens.steps.chord_area import ChordArea
from plateau_lens.steps.max_slope import MaxSlope
from plateau_lens.steps.non_linearity_of_value import NonLinearityOfValue
from plateau_lens.steps.registry import Curves, Statistic

LEAST_SLOPE = 0.02


def notebooks_ms(d: list[float]) -> int:
    """Slopes, the first one twice; place of the largest, the last of equal ones; the last step if it is too flat."""
    slopes = [b - a for a, b in itertools.pairwise(d)]
    padded = [slopes[0], *slopes]
    steepest = max(padded)
    return max(i for i, s in enumerate(padded) if s == steepest) if steepest > LEAST_SLOPE else len(d) - 1


def notebooks_auc(d: list[float]) -> int:
    """From 5 on, the largest of (x + 1) f(x) / 2 over the trapezoid up to x."""
    best, largest, area = -1, -1.0, 0.0
    for x in range(1, len(d)):
        area += (d[x] + d[x - 1]) / 2
        if x >= 5 and area > 0 and (x + 1) * d[x] / 2 / area > largest * (1 + 1e-9):
            best, largest = x, (x + 1) * d[x] / 2 / area
    return best


def notebooks_nl(d: list[float]) -> int:
    """The line through points 0 and 9; the first x >= 10 off it by more than a fifth, less one; else the points."""
    for x in range(10, len(d)):
        line = d[0] + (d[9] - d[0]) * x / 9
        if abs(d[x] - line) > 0.2 * abs(line):
            return x - 1
    return len(d)


RULES = {
    "MS": (MaxSlope(min_slope={"l2": LEAST_SLOPE}, convention="notebook"), notebooks_ms),
    "AUC": (ChordArea(convention="notebook"), notebooks_auc),
    "NL": (NonLinearityOfValue(convention="notebook"), notebooks_nl),
}
"""Ours, and the rule."""


def agreement(d: np.ndarray) -> dict[str, int]:
    """Of curves ``d[pair, step]``, how many get the same step by ours and by the rule, by statistic."""
    return {
        name: int((_ours(made, d) == [rule(curve) for curve in d.tolist()]).sum())
        for name, (made, rule) in RULES.items()
    }


def _ours(made: Statistic, d: np.ndarray) -> np.ndarray:
    return made.of(Curves(d)).value


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--curves", type=int, default=2000)
    args = parser.parse_args()
    rows = RunFolder(args.run).curves(experiment="toward", schedule="relative")["l2"].head(args.curves)
    d = np.stack([np.asarray(row, dtype=np.float64) for row in rows.to_list()])
    for name, same in agreement(d).items():
        print(f"{name}: {same} of {len(d)} equal")


if __name__ == "__main__":
    main()
