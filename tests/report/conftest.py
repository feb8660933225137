from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import NASTY_LABEL, NASTY_PROMPT, cliff, curve_rows, write_hills, write_run

from plateau_lens.report.build import Report, build_report
from plateau_lens.runs.folder import RunFolder


@pytest.fixture(scope="session")
def cliffs(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """MS and AP steps by hand: 10 20 30 40; 30 40 50 60; and never, at the very end, 50, 60."""
    steps = {
        "model-generated": [10, 20, 30, 40],
        "random": [30, 40, 50, 60],
        "late": [0, 100, 50, 60],
    }
    curves = [
        curve_rows(experiment, kind, "absolute", {"l2": cliff(at, 30.0), "kl": cliff(at, 5.0)})
        for experiment in ("toward", "from")
        for kind, at in steps.items()
    ]
    return write_run(
        tmp_path_factory.mktemp("cliffs"),
        curves,
        kinds=tuple(steps),
        prompts=["a", "b", "c", "d"],
        overrides={"schedules": ["absolute"], "responses": ["l2", "kl"]},
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Report]:
    """Every experiment and schedule, a label and a prompt that break what does not escape, and its report."""
    folder = write_hills(
        tmp_path_factory.mktemp("whole"),
        pairs=8,
        responses=("l2", "kl"),
        experiments=("toward", "from", "at-end", "examples"),
        kinds=("model-generated", "random", NASTY_LABEL, "sae-reconstruction"),
        prompts=(NASTY_PROMPT, "Second"),
        overrides={"name": "a <i>name</i>"},
    )
    return folder, build_report(folder)


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    return tmp_path / "run"
