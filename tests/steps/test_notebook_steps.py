"""The step statistics as the authors' notebooks had them."""

import runpy
from pathlib import Path

import numpy as np

from plateau_lens.steps.chord_area import ChordArea
from plateau_lens.steps.max_slope import MaxSlope
from plateau_lens.steps.non_linearity_of_value import NonLinearityOfValue
from plateau_lens.steps.registry import Curves

N_STEPS = 99
LAST = np.array([N_STEPS])
SCRIPT = Path(__file__).parents[2] / "scripts" / "notebook_rules.py"


PAPER, NOTEBOOK = (
    MaxSlope(min_slope={"l2": 0.02}, convention=convention) for convention in ("paper", "notebook")
)


def test_ms_is_the_last_of_equal_slopes_and_has_a_number_for_no_blow_up():
    cliff = Curves(np.where(np.arange(N_STEPS + 1) >= 40, 5.0, 0.0)[None], LAST)
    assert PAPER.of(cliff).value == NOTEBOOK.of(cliff).value == [40]
    # Slopes 1 1 3 1 3 1 1 ...: steps 3 and 5 are equally steep.
    twice = np.cumsum([0, 1, 1, 3, 1, 3, *[1] * (N_STEPS - 5)])[None]
    assert (PAPER.of(Curves(twice, LAST)).value, NOTEBOOK.of(Curves(twice, LAST)).value) == ([3], [5])
    flat = np.zeros((1, N_STEPS + 1))
    found = NOTEBOOK.of(Curves(flat, LAST))
    assert found.value == [99]
    assert found.censored.all()
    assert np.isnan(NOTEBOOK.of(Curves(np.full_like(flat, np.nan), LAST)).value).all()


def test_auc_of_a_straight_line_is_5():
    # (n + 1) * n / 2 over n^2 / 2 is 1 + 1/n: largest where looking begins, at 5. By the paper 1 at all: at 1.
    line = Curves(np.arange(N_STEPS + 1.0)[None], LAST)
    assert ChordArea().of(line).value == [1]
    assert ChordArea(convention="notebook").of(line).value == [5]


def test_nl_is_one_less_and_the_number_of_points_where_nothing_departs():
    line = np.arange(N_STEPS + 1.0)
    bent = np.where(line >= 30, 2 * line, line)[None]
    assert NonLinearityOfValue().of(Curves(bent, LAST)).value == [30]
    assert NonLinearityOfValue(convention="notebook").of(Curves(bent, LAST)).value == [29]
    never = NonLinearityOfValue(convention="notebook").of(Curves(line[None], LAST))
    assert (never.value, never.censored) == ([N_STEPS + 1], [True])


def test_the_notebooks_rules_written_again_give_the_same_on_two_thousand_curves():
    rng = np.random.default_rng(3)
    n = np.arange(N_STEPS + 1)
    centre, width = rng.uniform(1, 110, (2000, 1)), rng.uniform(0.3, 25, (2000, 1))
    rise = 1 / (1 + np.exp(-(n - centre) / width))
    d = rng.uniform(0.5, 400, (2000, 1)) * (rise - rise[:, :1]) + rng.uniform(0, 0.5, (2000, 1)) * np.sqrt(n)
    d = np.abs(d + np.cumsum(rng.normal(0, 0.05, d.shape), axis=1)) + 1e-3 * n
    d[:, 0] = 0
    rules = runpy.run_path(str(SCRIPT))
    assert rules["agreement"](d) == {"MS": 2000, "AUC": 2000, "NL": 2000}
    # The comparison can fail: of a curve that only flattens, the paper has an earlier AUC step than the notebooks.
    assert (rules["notebooks_auc"](list(np.sqrt(n))), ChordArea().of(Curves(np.sqrt(n)[None])).value) == (
        5,
        [1],
    )


def test_a_path_that_was_cut_is_censored_where_looking_stopped():
    cut = Curves(np.zeros((1, N_STEPS + 1)), np.array([30]))
    found = NOTEBOOK.of(cut)
    assert (found.value, found.censored) == ([30], [True])
    line = Curves(np.arange(N_STEPS + 1.0)[None], np.array([30]))
    found = NonLinearityOfValue(convention="notebook").of(line)
    assert (found.value, found.censored) == ([30], [True])
