"""The step values of a run: automatic parameters resolved on its curves, every curve measured, ``steps.parquet``."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from plateau_lens._errors import ConfigError, RunFolderError
from plateau_lens._registry import written_out
from plateau_lens.experiments.registry import EXPERIMENTS
from plateau_lens.responses.registry import RESPONSES
from plateau_lens.runs import config as configuration
from plateau_lens.runs.config import RunConfig, load_config
from plateau_lens.runs.folder import FORMAT, RunFolder
from plateau_lens.runs.plugins import digests
from plateau_lens.runs.yaml_reading import plain
from plateau_lens.steps.measure import measure
from plateau_lens.steps.registry import STATISTICS, Automatic, Statistic

if TYPE_CHECKING:
    import polars as pl

MEASURED = ("statistics", "report", "name", "plugins")
"""Keys of a configuration that touch no curve: a finished run can have others without being computed again."""


def make_statistics(config: RunConfig) -> dict[str, Statistic]:
    """The statistics of a run, by label.

    Raises:
        ConfigError: for one that is unknown, or that is of a response the run has not.
    """
    made = STATISTICS.make(config.statistics, of="statistics")
    for label, each in made.items():
        missing = [response for response in each.needs() if response not in config.responses]
        if missing:
            raise ConfigError(
                f"statistics.{label} is of the response {missing[0]!r}, which the run has not; add it to responses, or "
                f"set statistics.{label}=false"
            )
    return made


def resolve_statistics(config: RunConfig, folder: RunFolder) -> RunConfig:
    """Replace the statistics' automatic parameters by numbers, from the curves of the run; without any, they stay."""
    if not folder.has("curves"):
        return config
    statistics = make_statistics(config)
    responses = RESPONSES.make(config.responses, of="responses")
    automatic = Automatic(
        end_of_path=cache(lambda response: _end_of_path(config, folder, response)),
        least_slope={label: each.least_slope for label, each in responses.items()},
        statistics=statistics,
    )
    resolved = {label: each.resolve(automatic) for label, each in statistics.items()}
    try:
        STATISTICS.make(plain(written_out(resolved), "statistics"), of="statistics")
    except ConfigError as error:
        raise ConfigError(
            "no parameter of a statistic can be measured on curves half of which are undefined, or 0 at the end of "
            f"their paths: {error}\nThe curves are kept. Run the same command again with a number, for example --set "
            "statistics.ap.threshold=1, or look for what is wrong with the model"
        ) from None
    return config.model_copy(update={"statistics": written_out(resolved)})


def write_steps(folder: RunFolder, config: RunConfig) -> None:
    """Block by block, each sorted: neither the curves nor the steps of a whole run need fit into memory."""
    summarised = [
        label
        for label, each in EXPERIMENTS.make(config.experiments, of="experiments").items()
        if each.summarised
    ]
    if summarised:
        folder.write_blocks("steps.parquet", _measured(folder, config, summarised))


def measure_again(
    folder: RunFolder, overrides: Mapping[str, Any], *, plugins: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure a finished run's curves again, with other statistics or other parameters of them. No model is loaded.

    Args:
        folder: the run; one that an earlier version wrote becomes one of this version.
        overrides: dotted keys to values, as of `load_config`; of `MEASURED` alone.
        plugins: files or modules, loaded already, that the run has from now on beside its own.

    Returns:
        What changed of the resolved configuration, by dotted key: ``[before, now]``. The manifest has it too.

    Raises:
        ConfigError: for a key that would need other curves.
        RunFolderError: for a run that is not finished, or whose curves are gone.
    """
    manifest = folder.manifest()
    if "finished" not in manifest and "measuring" not in manifest:
        raise RunFolderError(f"{folder.path} is not finished; run it to the end first")
    wrong = [key for key in configuration.modern_keys(overrides) if key.split(".")[0] not in MEASURED]
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)}: measuring again changes {', '.join(MEASURED)} alone, for example "
            "--set statistics.ap.threshold=40; anything else needs other curves, which `plateau-lens run` computes"
        )
    with folder.writing():
        return _measure_again(folder, manifest, overrides, plugins)


def _measure_again(
    folder: RunFolder, manifest: Mapping[str, Any], overrides: Mapping[str, Any], plugins: Sequence[str]
) -> dict[str, Any]:
    request = load_config(manifest["request"], overrides)
    every = tuple(dict.fromkeys([*request.plugins, *plugins]))
    request = request.model_copy(update={"plugins": every})
    before = folder.config()
    asked = {key: getattr(request, key) for key in MEASURED}
    resolved = resolve_statistics(before.model_copy(update=asked), folder)
    list(folder.curve_blocks())  # whole, or nothing is begun
    # Until the end no checksum holds for the files: who is killed here measures again.
    rest = {key: value for key, value in manifest.items() if key not in ("finished", "measuring")}
    finished = manifest.get("finished", manifest.get("measuring"))
    folder.write_manifest({**rest, "measuring": finished}, files=())
    write_steps(folder, resolved)
    folder.write_text("config.yaml", configuration.dump(resolved))
    changed = dict(_changes(before.model_dump(mode="json"), resolved.model_dump(mode="json")))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"at": now, "format_before": manifest["format"], "changed": changed}
    folder.write_manifest(
        {
            **rest,
            "finished": finished,
            "format": FORMAT,
            "plugins": {**manifest.get("plugins", {}), **digests(plugins)},
            "request": request.model_dump(mode="json"),
            "measured_again": [*manifest.get("measured_again", []), entry],
        }
    )
    return changed


def _measured(folder: RunFolder, config: RunConfig, experiments: list[str]) -> Iterator[pl.DataFrame]:
    import polars as pl

    statistics = make_statistics(config)
    assert isinstance(config.step_size, float)
    order = ("experiment", "schedule", "response", "statistic", "kind", "pair")
    for block in folder.curve_blocks():
        curves = block.filter(pl.col("experiment").is_in(experiments)).collect()
        if len(curves):
            yield measure(
                curves,
                statistics,
                tuple(config.responses),
                n_steps=config.n_steps,
                step_size=config.step_size,
            ).sort(order)


def _end_of_path(config: RunConfig, folder: RunFolder, response: str) -> float:
    """See `Automatic.end_of_path`."""
    import polars as pl

    experiments = EXPERIMENTS.make(config.experiments, of="experiments")
    # Not those that are moved to another norm.
    as_drawn = [
        label
        for label in config.labels_of("model-generated")
        if config.kinds[label].get("norm", "own") == "own"
    ]
    model_generated = pl.col("kind").is_in(as_drawn)

    def toward(summarised: bool) -> pl.Expr:
        labels = [
            label
            for label, each in experiments.items()
            if each.varies == "target" and each.summarised == summarised and each.site is None
        ]
        return model_generated & pl.col("experiment").is_in(labels)

    at_end = pl.col(response).list.get(pl.col("last_step")).cast(pl.Float64).alias("end")
    for paths in (toward(True), toward(False), pl.lit(True)):
        for schedule in (pl.col("schedule") == "relative", pl.lit(True)):
            chosen = paths & schedule
            blocks = (
                block.filter(chosen).select(at_end).drop_nulls().drop_nans()
                for block in folder.curve_blocks()
            )
            ends = pl.concat([block.collect() for block in blocks])["end"].to_numpy()
            if len(ends):
                return float(np.median(ends))
    return float("nan")


def _changes(before: Any, now: Any, at: str = "") -> Iterator[tuple[str, list[Any]]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _changes(before.get(key), now.get(key), f"{at}.{key}" if at else str(key))
    elif before != now:
        yield at, [before, now]
