"""A run up to its step values: plan, prepare, compute what is missing, measure. Computing again resumes."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plateau_lens._errors import ConfigError, RunFolderError
from plateau_lens.execution.known import require_known
from plateau_lens.execution.plan import Unit, plan
from plateau_lens.execution.step_values import MEASURED, measure_again, resolve_statistics, write_steps
from plateau_lens.experiments.registry import EXPERIMENTS
from plateau_lens.runs import config as configuration
from plateau_lens.runs.config import RunConfig, load_config
from plateau_lens.runs.folder import FORMAT, OLDER, RunFolder

if TYPE_CHECKING:
    import torch

    from plateau_lens.execution.prepare import Resources
    from plateau_lens.execution.worker import Shard

PACKAGES = (
    "plateau-lens",
    "torch",
    "transformers",
    "sae-lens",
    "datasets",
    "huggingface-hub",
    "numpy",
    "scipy",
    "polars",
    "safetensors",
)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, pairs done and pairs in all."""

Notice = Callable[[str], None]
"""Called with each line that a user should see before the curves are computed."""


def compute(
    config: RunConfig,
    out: str | Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    notice: Notice | None = None,
    force: bool = False,
    resources: Resources | None = None,
) -> RunFolder:
    """Compute an experiment's curves and step values into a folder, or finish one that was cut short there.

    Args:
        config: as asked for; what it resolves to is in the folder's ``config.yaml``.
        out: the run folder; new, empty, or of the same configuration but for what touches no curve. More pairs than it
            has extend it: what is there then is what asking for all of them at first would have given. A folder keeps
            the unit size that it began with.
        workers: processes; 1 computes in this one.
        progress: told about every finished unit.
        notice: told how well the SAE fits the run; the manifest has the same under ``fit``.
        force: go on with an SAE that does not fit the run, or reconstructs too little of its activations.
        resources: the model and SAE of this configuration, loaded already; many runs can share them. With several
            workers each process loads its own all the same.

    Raises:
        PlateauLensError: for whatever the user can mend; shards that are whole stay and are not recomputed.
    """
    tell = progress or (lambda *_: None)
    say = notice or (lambda _: None)
    require_known(config)
    folder = RunFolder.create(out)
    with folder.writing():
        found = folder.manifest() if (folder.path / "manifest.json").is_file() else {}
        config = _continued(folder, found, config) if found else config
        request = config.model_dump(mode="json")
        manifest = {"format": FORMAT, **found, "request": request}
        units = plan(config)
        whole = folder.whole_shards(found.get("shards", {})) & _same_units(
            found.get("request", {}), config, units
        )
        names = {name for unit in whole for name in folder.shard_names(unit)}
        checksums = {name: digest for name, digest in found.get("shards", {}).items() if name in names}
        missing = [unit for unit in units if unit.index not in whole]
        needed = all(folder.is_whole(name) for name in ("config.yaml", "prompts.parquet"))
        measured = folder.is_whole("steps.parquet") or not any(
            each.summarised for each in EXPERIMENTS.make(config.experiments).values()
        )
        if missing or not manifest.get("finished") or not needed:
            _compute(config, folder, manifest, checksums, whole, workers, tell, say, force, resources)
        elif not measured or manifest["format"] != FORMAT or _differences(found["request"], request):
            measure_again(folder, {key: request[key] for key in MEASURED})
    return folder


def _continued(folder: RunFolder, found: Mapping[str, Any], config: RunConfig) -> RunConfig:
    """What is asked for, as the folder that has part of it already goes on with it.

    Raises:
        RunFolderError: if it holds another run.
    """
    if found["format"] not in (FORMAT, *OLDER):
        raise RunFolderError(
            f"{folder.path} has format {found['format']!r}, this version writes format {FORMAT}; "
            "choose another --out"
        )
    began = _with_defaults(found.get("request", {}))
    # Curves differ by rounding between unit sizes: what is there and what is new are to be of one.
    config = config.model_copy(update={"unit_size": began.get("unit_size", config.unit_size)})
    wanted = _computed(config.model_dump(mode="json"))
    if isinstance(began.get("pairs"), int) and began["pairs"] < config.pairs:
        wanted["pairs"] = began["pairs"]
    differences = _differences(_computed(began), wanted)
    if differences:
        raise RunFolderError(
            f"{folder.path} holds another run, which this one cannot resume:\n  "
            + "\n  ".join(differences)
            + "\nchoose another --out, or ask for the same run"
        )
    return config


def _same_units(began: Mapping[str, Any], config: RunConfig, units: list[Unit]) -> set[int]:
    """Units that are of the same pairs as when the folder had fewer: pairs behind them have come to be others."""
    before = plan(config.model_copy(update={"pairs": began.get("pairs", config.pairs)}))
    return {unit.index for unit, was in zip(units, before, strict=False) if unit == was}


def _computed(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request less what touches no curve: that can change, or be new, with nothing to compute again."""
    return {key: value for key, value in request.items() if key not in MEASURED}


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """A request as this version writes it: keys that came since have their defaults."""
    try:
        return load_config(request).model_dump(mode="json")
    except ConfigError:
        return request


def _differences(found: Any, wanted: Any, at: str = "") -> list[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = dict.fromkeys([*found, *wanted])
        return [
            line
            for key in keys
            for line in _differences(found.get(key), wanted.get(key), f"{at}.{key}" if at else str(key))
        ]
    return [] if found == wanted else [f"{at}: the folder has {found!r}, asked for {wanted!r}"]


def _compute(
    config: RunConfig,
    folder: RunFolder,
    manifest: dict[str, Any],
    checksums: dict[str, str],
    whole: set[int],
    workers: int,
    tell: Progress,
    say: Notice,
    force: bool,
    resources: Resources | None,
) -> None:
    """Compute what is not whole yet, and everything that follows from the curves."""
    from plateau_lens.execution.local import in_process, in_processes
    from plateau_lens.execution.prepare import load_resources, prepare
    from plateau_lens.models.products import COARSE

    tell("loading", 0, sum(len(unit.pair) for unit in plan(config)))
    resources = resources or load_resources(config)
    prepared = prepare(config, resources, force=force)
    for line in prepared.fit.lines() if prepared.fit else ():
        say(line)
    for line in prepared.norms.lines():
        say(line)
    if config.model.matmul == "bfloat16":
        say(COARSE)
    _same_resources(folder, manifest, prepared.provenance)
    found = manifest
    # Again, now that it is known how many prompts there are.
    units = plan(prepared.config)
    manifest = {
        "format": FORMAT,
        **_provenance(config, resources.engine.device),
        **prepared.provenance,
        "request": manifest["request"],
        "started": manifest.get("started", _now()),
        "seconds": manifest.get("seconds", 0.0),
        "engine_seconds": manifest.get("engine_seconds", 0.0),
        "shards": checksums,
    }
    if "report" in found:
        manifest["report"] = found["report"]
    # First of all files: a folder without it would be a stranger's, and nobody's to go on with.
    folder.write_manifest(manifest, files=())
    # Those of fewer pairs, or of curves that were damaged, are not to be taken for those of what comes.
    for stale in (folder.path / "steps.parquet", *folder.strays(checksums)):
        stale.unlink(missing_ok=True)
    folder.write_text("config.yaml", configuration.dump(prepared.config))
    _write_prompts(folder, units, prepared.tokens, prepared.text)
    folder.write_manifest(manifest)
    missing = [unit for unit in units if unit.index not in whole]
    if workers == 1:
        shards = in_process(prepared, resources, missing)
    else:
        shards = in_processes(prepared, missing, workers=workers)
    _write_shards(folder, manifest, shards, units, whole, tell)
    total = sum(len(unit.pair) for unit in units)
    tell("statistics", total, total)
    resolved = resolve_statistics(prepared.config, folder)
    write_steps(folder, resolved)
    folder.write_text("config.yaml", configuration.dump(resolved))
    manifest["finished"] = _now()
    folder.write_manifest(manifest)


def _write_shards(
    folder: RunFolder,
    manifest: dict[str, Any],
    shards: Generator[Shard],
    units: list[Unit],
    whole: set[int],
    tell: Progress,
) -> None:
    """Write each shard as it comes, and enter it into the journal: from then on it need not be computed again.

    ``seconds`` in the manifest is the wall time of this, ``engine_seconds`` what of it was spent in the engine, summed
    over workers.
    """
    # Units without paths take no time beside the others: counted with them, they would make a long run seem endless.
    sizes = {
        what: {unit.index: len(unit.pair) for unit in units if unit.lays_paths == lays_paths}
        for what, lays_paths in (("curves", True), ("codes", False))
    }
    doing = {unit: what for what, of_it in sizes.items() for unit in of_it}
    total = {what: sum(of_it.values()) for what, of_it in sizes.items()}
    done = {what: sum(size for unit, size in of_it.items() if unit in whole) for what, of_it in sizes.items()}
    tell("curves", done["curves"], total["curves"])
    with closing(shards):
        since = time.perf_counter()
        for shard in shards:
            folder.require_there()
            written = folder.write_shard(
                shard.unit, shard.activations, shard.curves, shard.codes, shard.latents
            )
            manifest["shards"].update(written)
            manifest["engine_seconds"] += shard.engine_seconds
            manifest["seconds"] += time.perf_counter() - since
            since = time.perf_counter()
            totals = {name: manifest[name] for name in ("seconds", "engine_seconds")}
            folder.enter_shard(written, **totals)
            what = doing[shard.unit]
            done[what] += sizes[what][shard.unit]
            tell(what, done[what], total[what])


def _same_resources(folder: RunFolder, manifest: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """A half-finished run must not go on with another model, SAE or prompts than it began with."""
    if not manifest.get("shards"):
        return
    differences = [
        line
        for key in ("model", "sae", "prompts", "plugins")
        for line in _differences(manifest.get(key), provenance.get(key), key)
        if "sha256" in line or "revision" in line
    ]
    if differences:
        raise RunFolderError(
            f"{folder.path} was begun with other files than are here now:\n  "
            + "\n  ".join(differences)
            + "\nchoose another --out to start anew"
        )


def _provenance(config: RunConfig, device: torch.device) -> dict[str, Any]:
    import torch

    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
        "machine": {
            "platform": platform.system(),
            "processor": platform.machine(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "threads": torch.get_num_threads(),
        },
        "seed": config.seed,
        "dtype": config.model.dtype,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _write_prompts(folder: RunFolder, units: list[Unit], tokens: Any, text: list[str]) -> None:
    import polars as pl

    rows = sorted(
        (pair, prompt) for unit in units for pair, prompt in zip(unit.pair, unit.prompt, strict=True)
    )
    table = pl.DataFrame(
        {
            "pair": [pair for pair, _ in rows],
            "prompt": [prompt for _, prompt in rows],
            "tokens": [tokens[prompt].tolist() for _, prompt in rows],
            "text": [text[prompt] for _, prompt in rows],
        },
        schema={"pair": pl.Int64, "prompt": pl.Int64, "tokens": pl.List(pl.Int64), "text": pl.String},
    )
    folder.write_table("prompts.parquet", table)
