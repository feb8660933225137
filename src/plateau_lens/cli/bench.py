"""``plateau-lens bench``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from plateau_lens.cli.terminal import terminal


def bench_command(
    model: str | None,
    *,
    quick: bool,
    only: list[str],
    repeats: int | None,
    minutes: float,
    threads: int | None,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure, telling on stderr what is running and found; print JSON or a table, and write the JSON if asked."""
    from plateau_lens._errors import ConfigError
    from plateau_lens.bench.record import bench
    from plateau_lens.bench.timing import Ratio

    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    console = terminal(stderr=True, soft_wrap=False)
    started = time.monotonic()

    def found(figure: str, ratio: Ratio) -> None:
        console.print(f"{time.monotonic() - started:4.0f} s  {figure}: {ratio.value:.3g}", highlight=False)

    with console.status("loading") as status:
        record = bench(
            model,
            quick=quick,
            only=only,
            repeats=repeats,
            seconds=60 * minutes,
            threads=threads,
            device=device,
            tell=status.update,
            found=found,
        )
    text = json.dumps(record, indent=2) + "\n"
    if out is not None:
        out.write_text(text)
    if as_json:
        sys.stdout.write(text)
    else:
        shown = terminal(soft_wrap=False)
        if not shown.is_terminal:
            # What rich takes for the width of a pipe, 80 columns, would break every row.
            shown.width = 120
        print_table(record, shown)


def print_table(record: Mapping[str, Any], console: Console) -> None:
    """Each work with its figure, range and target, and what could not be measured."""
    on = record["machine"]
    table = Table(
        title=f"{record['model']}: {on['threads']} of {on['cores']} cores, {on['processor']}, {on['capability']}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("work", "against"):
        table.add_column(heading)
    for heading in ("figure", "target", "met"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in record["targets"]:
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        table.add_row(row["work"], row["against"], _figure(row["figure"]), row["target"], met)
    for n_ctx, value in (record["vs_full_forward"] or {}).items():
        table.add_row(
            f"{n_ctx}-token prompts", "Hugging Face full pass, full prompts", _figure(value), "", ""
        )
    table.add_row("L2 only", "L2 and KL", _figure(record["l2_only_speedup"]), "", "")
    console.print(table)
    for key, reason in record["missing"].items():
        console.print(f"{key}: {reason}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
