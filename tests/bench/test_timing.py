from __future__ import annotations

import pytest
import torch

from plateau_lens.bench.timing import interleaved, ratio


def test_every_work_runs_once_a_round_after_one_to_warm_up():
    ran: list[str] = []
    works = {name: lambda name=name: ran.append(name) for name in "ab"}
    seconds = interleaved(works, rounds=2, device=torch.device("cpu"), tell=lambda _: None)
    assert "".join(ran) == "ababab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_of_medians_with_the_spread_over_rounds():
    # Medians 6 and 2; round by round 2, 6 and 2.5.
    assert ratio([4.0, 6.0, 10.0], [2.0, 1.0, 4.0]) == (3.0, 2.0, pytest.approx(6.0))
