"""How well the realism score and its interval do where the truth is known: the table of docs/realism.md.

Normal step values, rounded to whole steps: model-generated 49 ± 14, and random and a kind as in ``CASES``. Usage:
``python scripts/realism_validity.py [SIMULATIONS]``; 200 take about ten minutes on one core.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.excess import excess
from plateau_lens.numerics.realism import realism
from plateau_lens.numerics.survival import Survival, kaplan_meier, ks, wasserstein, whole_steps

N_STEPS = 100
REAL = (49, 14)
CASES = {
    "halfway": ((60, 17), (54.5, 15.5)),
    "as model-generated": ((60, 17), REAL),
    "as random": ((60, 17), (60, 17)),
    "twice as far": ((56, 14), (63, 14)),
}
"""Mean and spread of random and of the kind."""


def columns(rng: np.random.Generator, pairs: PairBootstrap, shared: float, case: str) -> list[Survival]:
    """Model-generated, random and the kind; ``shared`` is the correlation's root."""
    common = rng.normal(size=pairs.n_pairs)
    found: list[Survival] = []
    for mean, spread in (REAL, *CASES[case]):
        own = rng.normal(size=pairs.n_pairs)
        value = (mean + spread * (shared * common + math.sqrt(1 - shared**2) * own)).round().clip(1, N_STEPS)
        found.append(kaplan_meier(pairs, value, value >= N_STEPS, grid=whole_steps(N_STEPS)))
    return found


def main(simulations: int) -> None:
    """Print a row a case and number of pairs."""
    for shared in (0.0, 0.7):
        for case in CASES:
            large = columns(
                np.random.default_rng(99), PairBootstrap(200_000, seed=0, n_resamples=0), shared, case
            )
            for n in (100, 300, 1000):
                runs = [
                    columns(
                        np.random.default_rng([i, n, int(shared * 10)]),
                        PairBootstrap(n, seed=i, n_resamples=300),
                        shared,
                        case,
                    )
                    for i in range(simulations)
                ]
                cells = [case + (", paired" if shared else ""), f"{n:,}"]
                for distance in (ks, wasserstein):
                    reference, random, kind = large
                    far = distance(kind, reference)[0] if CASES[case][1] != REAL else 0.0
                    truth = 1 - far / distance(random, reference)[0]
                    found = np.array(
                        [realism(excess(k, m, distance), excess(r, m, distance)) for m, r, k in runs]
                    )
                    value, low, high = found[~np.isnan(found[:, 0])].T
                    cells += [
                        f"{value.mean():.2f} ({truth:.2f})",
                        f"{100 * ((low <= truth) & (truth <= high)).mean():.0f} %",
                        f"{100 * (1 - value.size / simulations):.0f} %",
                    ]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
