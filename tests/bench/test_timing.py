from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from plateau_lens.bench import timing
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


class Clock:
    """Stands still but for what works take."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds

        return run


@pytest.mark.parametrize(
    ("until", "wanted"),
    [
        # Turns begin at 0, 1 (warming up), 4, 5 (the first that counts), 8 and 9.
        (100.0, {"a": [1.0, 1.0], "b": [3.0, 3.0]}),
        (11.0, {"a": [1.0, 1.0], "b": [3.0]}),  # b's last turn would end at 12
        (4.5, {"a": [1.0], "b": [3.0]}),  # warming up is all there was
        (1.0, {"a": [1.0], "b": []}),
    ],
)
def test_nothing_is_begun_that_would_not_be_done_in_time(
    until: float, wanted: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    told: list[tuple[str, dict[str, list[float]]]] = []
    found = interleaved(
        {"a": clock.work(1), "b": clock.work(3)},
        rounds=2,
        device=torch.device("cpu"),
        tell=lambda _: None,
        done=lambda name, seconds: told.append((name, {key: [*value] for key, value in seconds.items()})),
        until=until,
    )
    assert found == wanted
    assert told[0] == ("a", {"a": [1.0], "b": []})
    assert told[-1][1] == wanted


def test_a_ratio_is_of_the_rounds_that_both_have():
    assert ratio([4.0, 6.0, 10.0], [2.0]) == (2.0, 2.0, 2.0)
