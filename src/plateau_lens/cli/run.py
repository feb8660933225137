"""``plateau-lens run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plateau_lens import presets
from plateau_lens._errors import ConfigError
from plateau_lens.cli.progress import progress
from plateau_lens.cli.terminal import terminal
from plateau_lens.runs.config import RunConfig, load_config, parse_assignment
from plateau_lens.runs.folder import RunFolder


def run_command(
    source: str,
    out: Path | None,
    options: Mapping[str, Any],
    assignments: Sequence[str],
    workers: int,
    *,
    force: bool = False,
    report: bool = True,
) -> None:
    """Run, showing progress; end with the summary table, and the report's path if there is to be one."""
    from plateau_lens.cli.summary import print_summary
    from plateau_lens.whole_run import run

    overrides = {**options, **dict(parse_assignment(text) for text in assignments)}
    config, out = _asked_for(source, out, overrides)
    # On stderr, above the bar: what goes to stdout is the summary.
    console = terminal(stderr=True)
    with progress(console) as tell:
        folder = run(
            config,
            out,
            workers=workers,
            progress=tell,
            notice=console.print,
            report=report,
            force=force,
        )
    print_summary(folder, terminal(soft_wrap=False))
    if report:
        terminal().print(f"Report: {folder.path / 'report.html'}")


def _asked_for(source: str, out: Path | None, overrides: Mapping[str, Any]) -> tuple[RunConfig, Path]:
    """A configuration and its folder; a run folder is asked for what it was asked for before."""
    folder = Path(source)
    if source not in presets.names() and (folder / "manifest.json").is_file():
        request = RunFolder(folder).manifest().get("request", {})
        if request.get("plugins") and "plugins" not in overrides:
            named = ", ".join(map(str, request["plugins"]))
            raise ConfigError(
                f"{folder} was made with plugins, whose code is run only if you name them: --set 'plugins=[{named}]'"
            )
        return load_config(request, overrides), out or folder
    config = load_config(source, overrides)
    if out is None:
        if set(config.name) & set("/\\") or config.name.startswith("."):
            raise ConfigError(f"name {config.name!r} cannot be a folder's; give the run's folder by --out")
        # Two seeds of one preset, side by side, are two runs.
        out = Path("runs") / (f"{config.name}-seed{config.seed}" if config.seed else config.name)
    return config, out
