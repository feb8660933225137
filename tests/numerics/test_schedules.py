from __future__ import annotations

import numpy as np
import pytest

from plateau_lens.numerics.schedules import last_usable_step, offsets


def test_absolute_points_are_whole_steps_whatever_the_distance():
    found = offsets("absolute", np.array([3.0, 40.0]), n_steps=4, step_size=0.5)
    assert found.tolist() == [[0.0, 0.5, 1.0, 1.5, 2.0]] * 2


def test_relative_points_are_shares_of_the_distance_and_end_at_the_target():
    # 100 intervals, not 99: n/100 of the way at step n, so that step 100 is the target itself.
    found = offsets("relative", np.array([50.0, 8.0]), n_steps=100, step_size=123.0)
    assert found.shape == (2, 101)
    assert found[0, 1] == pytest.approx(0.5)
    assert found[:, 50].tolist() == [25.0, 4.0]
    assert found[:, 100].tolist() == [50.0, 8.0]


def test_rows_can_be_written_to_without_touching_one_another():
    found = offsets("absolute", np.array([1.0, 1.0]), n_steps=3, step_size=1.0)
    found[0, 1] = 9.0
    assert found[1, 1] == 1.0


@pytest.mark.parametrize(
    ("distance", "last"),
    [
        (0.0, 0),
        (0.49, 0),
        (0.5, 1),
        (7.2, 14),  # floor(7.2 / 0.5) = floor(14.4)
        (49.9, 99),
        (50.0, 100),
        (1e6, 100),  # never beyond n_steps
        (float("nan"), 0),
    ],
)
def test_an_absolute_path_stops_at_its_target(distance: float, last: int):
    found = last_usable_step(
        "absolute", np.array([distance]), n_steps=100, step_size=0.5, stop_at_target=True
    )
    assert found.tolist() == [last]


@pytest.mark.parametrize("steps", range(1, 101))
def test_a_distance_of_whole_steps_keeps_its_last_one(steps: int):
    # 0.1 * 3 / 0.1 is 3.0000000000000004 and 0.7 / 0.1 is 6.999999999999999 in floating point.
    found = last_usable_step(
        "absolute", np.array([steps * 0.1]), n_steps=100, step_size=0.1, stop_at_target=True
    )
    assert found.tolist() == [steps]


@pytest.mark.parametrize(("schedule", "stop"), [("absolute", False), ("relative", True), ("relative", False)])
def test_other_paths_use_every_step(schedule: str, stop: bool):
    found = last_usable_step(schedule, np.array([0.0, 1.0]), n_steps=7, step_size=5.0, stop_at_target=stop)
    assert found.tolist() == [7, 7]


def test_distances_that_are_not_finite_give_paths_that_are_undefined():
    distance = np.array([np.nan, np.inf, 4.0])
    # 4 units in steps of 0.5 are 8 of them; nothing is known of NaN, and an infinite one is never reached.
    settings = {"n_steps": 10, "step_size": 0.5, "stop_at_target": True}
    assert last_usable_step("absolute", distance, **settings).tolist() == [0, 10, 8]
    relative = offsets("relative", distance, n_steps=10, step_size=0.5)
    assert np.isnan(relative[:2, 0]).all()
    assert relative[2, 10] == 4
