"""The commands and their options; what each does is in the file of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import plateau_lens

app = typer.Typer(
    name="plateau-lens",
    help="Measure how a language model's output responds as one residual-stream activation is pushed toward another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Device = Annotated[str | None, typer.Option(help="Torch device: cpu, cuda, cuda:1, mps.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE|MODULE",
        help="Python file or module of your own that the run was made with; its code is run. Repeatable.",
    ),
]
Dtype = Annotated[str | None, typer.Option(help="float32, float64 or bfloat16.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plateau-lens {plateau_lens.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of the command itself."""


@app.command()
def run(
    config: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|FILE|RUN",
            help="A preset, a YAML file, or a run folder to finish, mend or extend.",
        ),
    ] = "smollm2-135m",
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder; default runs/NAME (-seedN if a seed is given)."),
    ] = None,
    pairs: Annotated[int | None, typer.Option(help="Pairs of base and target.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random draw.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own model.")] = 1,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the configuration; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run with an SAE that does not fit.")] = False,
    report: Annotated[
        bool, typer.Option(help="Build tables, figures and page at the end; `report RUN` makes them later.")
    ] = True,
) -> None:
    """Run the whole experiment: curves, statistics, tables, figures, report. The same command resumes."""
    from plateau_lens.cli.run import run_command

    overrides = {"pairs": pairs, "seed": seed, "model.device": device, "model.dtype": dtype}
    run_command(
        config,
        out,
        {key: value for key, value in overrides.items() if value is not None},
        set_ or [],
        workers,
        force=force,
        report=report,
    )


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")], plugin: Plugins = None
) -> None:
    """Build tables, figures and page again from a run folder; loads no model."""
    from plateau_lens.cli.report import report_command

    report_command(folder, plugin or [])


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run folder.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A key of statistics or report, e.g. statistics.ap.threshold=40; repeatable.",
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Measure a run's curves again, with other statistics or parameters of them; loads no model."""
    from plateau_lens.cli.measure import measure_command

    measure_command(folder, set_ or [], plugin or [])


@app.command()
def claims(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")], plugin: Plugins = None
) -> None:
    """Test the paper's claims on a run: holds, fails or undecided, with intervals; loads no model."""
    from plateau_lens.cli.claims import claims_command

    claims_command(folder, plugin or [])


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Two run folders or more.")],
    plugin: Plugins = None,
) -> None:
    """Put runs side by side, with intervals on their differences."""
    from plateau_lens.cli.compare import compare_command

    compare_command(folders, plugin or [])


@app.command()
def check(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN", help="Hub id, local folder, wheel:NAME==VERSION or preset; or a run folder."
        ),
    ],
    site: Annotated[
        str | None, typer.Option(help="Where to push; default the preset's, or block 1's input.")
    ] = None,
    read_site: Annotated[
        str | None, typer.Option(help="Where L2 is read; default the last block's output.")
    ] = None,
    n_ctx: Annotated[int, typer.Option(min=2, help="Tokens a prompt.")] = 10,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Let the engine prove itself on a model: identity, full pass, firing counts. Of a run, verify every checksum."""
    from plateau_lens.cli.check import check_command

    check_command(model, site, read_site, n_ctx, device or "cpu", dtype or "float32")


@app.command()
def bench(
    model: Annotated[
        str | None,
        typer.Argument(help="Hub id, local folder or wheel:NAME==VERSION; default GPT-2 small's shape."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; default torch's own choice.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Timed rounds; default 5.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: seconds, to see that it works.")
    ] = False,
    device: Device = None,
) -> None:
    """Measure speed: against TransformerLens, the full forward pass and the machine's limit, interleaved."""
    from plateau_lens.cli.bench import bench_command

    bench_command(
        model,
        quick=quick,
        repeats=repeats,
        threads=threads,
        device=device or "cpu",
        out=out,
        as_json=json_,
    )


@app.command()
def presets() -> None:
    """List the presets."""
    from plateau_lens.cli.presets import presets_command

    presets_command()


@app.command()
def fetch(preset: Annotated[str, typer.Argument(metavar="PRESET|FILE")] = "smollm2-135m") -> None:
    """Download everything a preset needs, so that it runs offline afterwards."""
    from plateau_lens.cli.fetch import fetch_command

    fetch_command(preset)
