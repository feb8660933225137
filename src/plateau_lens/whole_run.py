"""A whole run: compute, measure, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plateau_lens.execution.compute import Notice, Progress, compute
from plateau_lens.report.build import build_report
from plateau_lens.runs.config import RunConfig
from plateau_lens.runs.folder import RunFolder

if TYPE_CHECKING:
    from plateau_lens.execution.prepare import Resources


def run(
    config: RunConfig,
    out: str | Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    notice: Notice | None = None,
    report: bool = True,
    force: bool = False,
    resources: Resources | None = None,
) -> RunFolder:
    """Run an experiment into a folder, or finish one that was cut short there.

    Args:
        config: as asked for; what it resolves to is in the folder's ``config.yaml``.
        out: the run folder; new, empty, or of the same configuration.
        workers: processes; 1 computes in this one.
        progress: told about every finished unit.
        notice: told how well the SAE fits the run; the manifest has the same under ``fit``.
        report: build tables, figures and page at the end.
        force: go on with an SAE that does not fit the run, or reconstructs too little of its activations.
        resources: the configuration's model and SAE, already loaded (`load_resources`), so that many runs share them.

    Raises:
        PlateauLensError: for whatever the user can mend; shards that are whole stay and are not recomputed.
    """
    folder = compute(
        config, out, workers=workers, progress=progress, notice=notice, force=force, resources=resources
    )
    if report:
        if progress is not None:
            progress("report", config.pairs, config.pairs)
        build_report(folder)
    return folder
