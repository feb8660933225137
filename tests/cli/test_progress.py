"""What a run without a terminal says while it computes."""

import io

from rich.console import Console

from plateau_lens.cli.progress import progress


def test_lines_come_now_and_then_with_rate_and_time_left() -> None:
    now = [0.0]
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=False), clock=lambda: now[0]) as tell:
        tell("loading", 0, 1000)
        for done in range(0, 1001, 10):  # a unit of ten pairs every 4 seconds
            tell("curves", done, 1000)
            now[0] += 4
        tell("report", 1000, 1000)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["loading: 0 of 1,000 pairs", "curves: 0 of 1,000 pairs"]
    # Half a minute is eight units, and a tenth ten: lines at 80 (32 s), 100, 180, 200, ...
    assert lines[2] == "curves: 80 of 1,000 pairs, 2.50 pairs/s, about 6 min left"
    assert lines[3] == "curves: 100 of 1,000 pairs, 2.50 pairs/s, about 6 min left"
    assert len(lines) == 2 + 20 + 1
    assert lines[-2:] == ["curves: 1,000 of 1,000 pairs, 2.50 pairs/s", "report: 1,000 of 1,000 pairs"]


def test_what_was_there_before_is_not_counted_as_speed() -> None:
    now = [0.0]
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=False), clock=lambda: now[0]) as tell:
        tell("curves", 900, 1000)
        now[0] = 60.0
        tell("curves", 930, 1000)
    assert out.getvalue().splitlines()[-1] == "curves: 930 of 1,000 pairs, 0.50 pairs/s, about 2 min left"
