"""The run folder: what a run leaves on disk, written whole or not at all, and read without torch.

::

    config.yaml             as resolved, every default written out
    manifest.json           versions, revisions, sha256, seed, device, dtype, shard checksums
    manifest.jsonl          while a run is on: a line a shard written since, until they go into manifest.json
    prompts.parquet         pair, prompt, tokens list<int64>, text
    activations/part-*.safetensors   pair [n]; base, target.toward.<kind>, base.from.<kind>, target.from
    curves/part-*.parquet   experiment, kind, schedule, pair, prompt, base_norm, distance, last_step, l2, kl, js
                            list<float32>
    codes/part-*.parquet    pair, kind, active, top_share, top_cosine, log10_frequency, norm, distance, and as the SAE
                            reads the activation: read_active, read_top_share, read_error
    latents/part-*.parquet  experiment, kind (null: the prompt's own), pair, prompt, error, active, mean_among,
                            shares and to_top list<float32>, among list<uint32> (`activations.anatomy`)
    steps.parquet           experiment, kind, schedule, pair, last_step, response, statistic, value, censored
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Container, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plateau_lens._digest import sha256
from plateau_lens._errors import ConfigError, DamageError, RunFolderError
from plateau_lens.runs.config import RunConfig, load_config
from plateau_lens.runs.lock import locked
from plateau_lens.runs.manifest import OWN, own_digest, read_entry, read_manifest
from plateau_lens.runs.yaml_reading import read_yaml

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

FORMAT = 2
"""Version of this layout: what is written."""
OLDER = (1,)
"""Versions with the same curves and other step values; `plateau-lens measure` makes a folder of today of one."""

JOURNAL = "manifest.jsonl"
FILES = ("config.yaml", "prompts.parquet", "steps.parquet")
"""What has a checksum in the manifest beside the shards."""
UNIDENTIFIED = "nothing tells any more what the run is: put it back from a copy, or run into another --out"
PAIRS_A_BLOCK = 200
"""Pairs whose curves are read and measured at once."""


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Yield a temporary name beside ``path``; on success fsync it and rename it onto ``path``.

    The folder is made where it is missing, but not the one above: a run folder that was moved away must not come back
    as a few files of its end.
    """
    path.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except Exception as error:
        # Libraries report what the system refused in words of their own, and without the file's name.
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = getattr(error, "errno", None) or (found and int(found[1]))
        if number is None or getattr(error, "filename", None) is not None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _scan(shards: list[Path]) -> pl.LazyFrame:
    """Shards as one table. A run that was begun before a column existed has it nowhere, or not in all of its shards."""
    import polars as pl

    return pl.scan_parquet(shards, glob=False, missing_columns="insert", extra_columns="ignore")


def _holds(path: Path, digest: str | None) -> bool:
    """Whether a file is there and has this checksum."""
    try:
        return digest == sha256(path)
    except OSError:
        return False


PARTS = ("activations", "curves", "codes", "latents")
"""Folders that hold a file a shard."""
_SHARD = re.compile(rf"({'|'.join(PARTS)})/part-(\d{{5,}})\.(?:parquet|safetensors)")
LOST = {
    "config.yaml": "the configuration as resolved",
    "prompts.parquet": "the prompts' table",
    "steps.parquet": "the step values",
    "activations": "the activations",
    "curves": "the curves",
    "codes": "the codes' properties",
    "latents": "the codes, latent by latent",
}
"""What a file of the run holds, by its name or folder."""


class Damage(NamedTuple):
    """A file that is not as it was written."""

    path: Path
    what: str
    lost: str
    mend: str
    """The command that makes it again."""

    def __str__(self) -> str:
        return f"{self.path} {self.what}; lost: {self.lost}; {self.mend}"


class ShardNames(NamedTuple):
    """Relative names of one unit's files."""

    activations: str
    curves: str
    codes: str
    latents: str


_TOGETHER = (frozenset({"activations", "curves", "codes"}), frozenset({"latents"}))
"""Parts that a unit has all of or none: those of its paths, and those of its codes alone."""


@lru_cache(maxsize=4)
def _configuration(text: str) -> RunConfig:
    """What a ``config.yaml`` says; a report asks for the same one some hundred times.

    Raises:
        ConfigError: for what is none.
    """
    table = read_yaml(text, "config.yaml")
    if not isinstance(table, dict):
        raise ConfigError(f"it holds {type(table).__name__}, no configuration")
    return load_config(table)


@dataclass(frozen=True)
class RunFolder:
    """A run folder on disk. Reading needs no torch and no model."""

    path: Path

    @classmethod
    def open(cls, path: str | Path, *, to_measure: bool = False) -> RunFolder:
        """Open an existing run for reading.

        Args:
            path: the folder.
            to_measure: take one whose step values are to be measured again, too: those of an earlier version, or half
                written.

        Raises:
            RunFolderError: if the folder is not a run, or is not complete enough to read.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise RunFolderError(f"{folder.path} is not a folder; a run folder is made by `plateau-lens run`")
        missing = [name for name in ("config.yaml", "manifest.json") if not (folder.path / name).is_file()]
        if missing:
            raise RunFolderError(
                f"{folder.path} is not a run folder: {' and '.join(missing)} missing; "
                "a run folder is made by `plateau-lens run --out DIR`"
            )
        manifest = folder.manifest()
        found = manifest.get("format")
        if "measuring" in manifest and not to_measure:
            raise RunFolderError(
                f"{folder.path}: measuring its curves again was cut short; run `plateau-lens measure {folder.path}`"
            )
        if found in OLDER and not to_measure:
            raise RunFolderError(
                f"{folder.path} was written by an earlier version of plateau-lens (format {found}, now {FORMAT}): run "
                f"`plateau-lens measure {folder.path}` once, which measures its curves again (seconds, no model)"
            )
        if found not in (FORMAT, *OLDER):
            raise RunFolderError(f"{folder.path} has format {found!r}, this version reads format {FORMAT}")
        return folder

    @classmethod
    def create(cls, path: str | Path) -> RunFolder:
        """Make the folder, or take an empty one.

        Raises:
            RunFolderError: if it cannot be written, or holds something that is not a run.
        """
        folder = cls(Path(path))
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            strangers = [entry.name for entry in folder.path.iterdir() if not entry.name.startswith(".")]
            if strangers and "manifest.json" not in strangers:
                raise RunFolderError(
                    f"{folder.path} holds {strangers[0]!r} and is not a run folder; choose an empty or new --out"
                )
            with tempfile.TemporaryFile(dir=folder.path):
                pass
        except OSError as error:
            raise RunFolderError(
                f"cannot write to {folder.path}: {error.strerror or error}; choose another --out"
            ) from None
        return folder

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the folder's lock, and take away what a killed writer left half written.

        Raises:
            RunFolderError: if another process has it.
        """
        with locked(self.path):
            for half in (*self.path.glob(".*.tmp"), *self.path.glob("*/.*.tmp")):
                half.unlink(missing_ok=True)
            yield

    # -- reading ------------------------------------------------------------------------------------------

    def config(self) -> RunConfig:
        """The resolved configuration."""
        try:
            return _configuration(self._there("config.yaml").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise RunFolderError(
                f"{self.path / 'config.yaml'} cannot be read: {error}; {self.mend('config.yaml')}"
            ) from None

    def manifest(self) -> dict[str, Any]:
        """Provenance: versions, revisions, checksums, seed, device."""
        path = self.path / "manifest.json"
        try:
            manifest = read_manifest(path)
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path} cannot be read: {error}; {UNIDENTIFIED}") from None
        shards = manifest.get("shards", {})
        for entry in self._journal():
            shards |= entry["shards"]
            manifest |= {**entry, "shards": shards}
        return manifest

    def prompts(self) -> pl.DataFrame:
        """One row a pair: pair, tokens, text."""
        return self._table("prompts.parquet")

    def steps(self) -> pl.DataFrame:
        """One row a step value: experiment, kind, schedule, pair, last_step, response, statistic, value, censored."""
        return self._table("steps.parquet")

    def curves(
        self, *, experiment: str | None = None, kind: str | None = None, schedule: str | None = None
    ) -> pl.DataFrame:
        """One row a curve, filtered if asked, sorted by experiment, kind, schedule and pair."""
        import polars as pl

        frame = self.scan_curves()
        for column, wanted in (("experiment", experiment), ("kind", kind), ("schedule", schedule)):
            if wanted is not None:
                frame = frame.filter(pl.col(column) == wanted)
        return frame.sort("experiment", "kind", "schedule", "pair").collect()

    def scan_steps(self) -> pl.LazyFrame:
        """All step values, unread: filter and select, then ``collect()``."""
        import polars as pl

        return pl.scan_parquet(self._there("steps.parquet"), glob=False)

    def scan_curves(self) -> pl.LazyFrame:
        """All curves, unread: filter and select, then ``collect()``. For large runs see `curve_blocks`."""
        return _scan(self._part("curves"))

    def curve_blocks(self) -> Generator[pl.LazyFrame]:
        """All curves, unread, some shards at a time: about `PAIRS_A_BLOCK` pairs, whatever the run's size."""
        if not self.has("curves") and self.has("latents"):
            return  # nothing was pushed
        names = self._part("curves")
        shards = max(1, PAIRS_A_BLOCK // self.config().unit_size)
        for start in range(0, len(names), shards):
            yield _scan(names[start : start + shards])

    def codes(self) -> pl.DataFrame:
        """One row a pair and kind: what describes the activation and, if it has one, its code (NaN if not).

        ``read_*`` are of the code that the SAE reads off the activation, whatever made it, and ``read_error`` is the
        relative error of reading it so (`Dictionary.reconstruction_error`). A run that an earlier version began lacks
        them.
        """
        return _scan(self._part("codes")).sort("kind", "pair").collect()

    def latents(self) -> pl.DataFrame:
        """One row a code, latent by latent; ``kind`` is null for a prompt's own activation.

        See `plateau_lens.activations.anatomy.Anatomy` for the columns that describe it; ``error`` is the relative error
        with which the SAE reconstructs the activation that the code was read off, NaN for a code that was made.
        """
        import polars as pl

        order = ("experiment", "kind", "pair")
        return pl.read_parquet(self._part("latents"), glob=False).sort(order, nulls_last=False)

    def has(self, part: str) -> bool:
        """Whether any unit that was computed so far has left this part, e.g. ``codes``."""
        return any(name.startswith(f"{part}/") for name in self.manifest().get("shards", {}))

    def activations(self) -> Generator[dict[str, np.ndarray]]:
        """Blocks of activations, one a shard: name to array [n, d_model], and ``pair`` [n]."""
        from safetensors.numpy import load_file

        for path in self._part("activations"):
            yield load_file(path)

    def _table(self, name: str) -> pl.DataFrame:
        import polars as pl

        try:
            return pl.read_parquet(self._there(name), glob=False)
        except pl.exceptions.PolarsError as error:  # of an earlier version, which kept no checksum of it
            raise RunFolderError(
                f"{self.path / name} cannot be read: {error}; lost: {self.lost(name)}; {self.mend(name)}"
            ) from None

    def _there(self, name: str) -> Path:
        """A file outside the shards, which is as it was written."""
        path = self.path / name
        digest = self.manifest().get("files", {}).get(name)
        if digest is None and not path.is_file():
            raise RunFolderError(f"{self.path} has no {name} yet; run it to the end first")
        if digest is not None and not _holds(path, digest):
            raise DamageError(str(self._damaged(name)))
        return path

    def _damaged(self, name: str) -> Damage:
        gone = not (self.path / name).is_file()
        what = "is gone" if gone else "is not what was written: it is damaged, or was edited"
        return Damage(self.path / name, what, self.lost(name), self.mend(name))

    def mend(self, name: str) -> str:
        """The command that makes a file again."""
        if name.startswith(("tables/", "figures/", "report.html")):
            return f"`plateau-lens report {self.path}` makes it again"
        return f"`plateau-lens run {self.path}` makes it again"

    def lost(self, name: str) -> str:
        """What is lost with a file."""
        part, _, shard = name.partition("/")
        return LOST.get(part, "a file of the report") + (
            f" of {shard.partition('.')[0]}" if part in PARTS else ""
        )

    def damage(self) -> list[Damage]:
        """Every file that the manifest names and that is not as it was written, shards first. Reads all bytes."""
        manifest = self.manifest()
        named = {**manifest.get("shards", {}), **manifest.get("files", {}), **manifest.get("report", {})}
        return [self._damaged(name) for name, digest in named.items() if not _holds(self.path / name, digest)]

    def is_whole(self, name: str) -> bool:
        """Whether a file outside the shards is there, and as it was written."""
        try:
            return self._there(name).is_file()
        except RunFolderError:
            return False

    def _part(self, part: str) -> list[Path]:
        """One part of every shard, in the order of the units."""
        shards: dict[str, str] = self.manifest().get("shards", {})
        names = sorted(name for name in shards if name.startswith(f"{part}/"))
        if not names:
            raise RunFolderError(f"{self.path} has no {part} yet; run it to the end first")
        damaged = [name for name in names if not _holds(self.path / name, shards[name])]
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            raise DamageError(f"{self._damaged(damaged[0])}{more}")
        return [self.path / name for name in names]

    def _journal(self) -> Generator[dict[str, Any]]:
        """Entries of the journal; a last line that was cut short is none."""
        path = self.path / JOURNAL
        if path.is_file():
            try:
                for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                    if line.endswith("\n"):
                        yield read_entry(line)
            except (OSError, ValueError) as error:
                raise RunFolderError(
                    f"a line of {path} cannot be read: {error}; remove the file, and `plateau-lens run` computes the "
                    "shards of its other lines again"
                ) from None

    # -- writing ------------------------------------------------------------------------------------------

    def require_there(self) -> None:
        """Raise RunFolderError if the folder was moved or removed meanwhile."""
        if not (self.path / "manifest.json").is_file():
            raise RunFolderError(
                f"{self.path} was moved or removed while it was written; put it back, or choose another --out, and run "
                "the same command again"
            )

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file whole."""
        with whole_file(self.path / name) as temporary:
            temporary.write_text(text)
        return self.path / name

    def write_manifest(self, manifest: Mapping[str, Any], *, files: Sequence[str] | None = FILES) -> None:
        """Write the manifest whole, with its own checksum, and end the journal: the manifest is to hold what that says.

        Args:
            manifest: its entries.
            files: those outside the shards whose checksums, as of now, go into it; None: the ones it has stay.
        """
        digests: dict[str, str] = manifest.get("files", {})
        if files is not None:
            digests = {name: sha256(self.path / name) for name in files if (self.path / name).is_file()}
        entries = {**manifest, "files": digests}
        entries = {**entries, OWN: own_digest(entries)}
        self.write_text("manifest.json", json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
        (self.path / JOURNAL).unlink(missing_ok=True)

    def enter_shard(self, checksums: Mapping[str, str], **totals: float) -> None:
        """Enter a shard into the journal, which `manifest` reads with the manifest; from then on it counts.

        A line a shard, as the manifest itself grows with every shard, and rewriting it would cost the square.

        Args:
            checksums: as `write_shard` returned them.
            totals: entries of the manifest that change with every shard, of the run so far.
        """
        line = json.dumps({**totals, "shards": dict(checksums)}) + "\n"
        with (self.path / JOURNAL).open("a") as journal:
            journal.write(line)
            journal.flush()
            os.fsync(journal.fileno())

    def write_table(self, name: str, table: pl.DataFrame) -> Path:
        """Write a Parquet file whole."""
        with whole_file(self.path / name) as temporary:
            table.write_parquet(temporary)
        return self.path / name

    def write_blocks(self, name: str, blocks: Iterable[pl.DataFrame]) -> Path:
        """Write a Parquet file whole, from blocks of rows of which one is held at a time."""
        from polars.io.plugins import register_io_source

        waiting = iter(blocks)
        first = next(waiting)

        def source(*_: object) -> Generator[pl.DataFrame]:
            yield first
            yield from waiting

        with whole_file(self.path / name) as temporary:
            register_io_source(source, schema=first.schema).sink_parquet(temporary)
        return self.path / name

    def write_shard(
        self,
        unit: int,
        activations: Mapping[str, np.ndarray] | None = None,
        curves: pl.DataFrame | None = None,
        codes: pl.DataFrame | None = None,
        latents: pl.DataFrame | None = None,
    ) -> dict[str, str]:
        """Write one unit's files whole, those that it has, and return their checksums by relative name."""
        from safetensors.numpy import save

        names = self.shard_names(unit)
        written: list[str] = []
        if activations is not None:
            with whole_file(self.path / names.activations) as temporary:
                # Not `save_file`: that writes to a temporary file of its own, which a killed process leaves for good.
                temporary.write_bytes(save(dict(activations)))
            written.append(names.activations)
        for name, table in ((names.curves, curves), (names.codes, codes), (names.latents, latents)):
            if table is not None:
                self.write_table(name, table)
                written.append(name)
        return {name: sha256(self.path / name) for name in written}

    @staticmethod
    def shard_names(unit: int) -> ShardNames:
        """Relative names of a unit's files."""
        return ShardNames(
            f"activations/part-{unit:05d}.safetensors",
            f"curves/part-{unit:05d}.parquet",
            f"codes/part-{unit:05d}.parquet",
            f"latents/part-{unit:05d}.parquet",
        )

    def strays(self, entered: Container[str]) -> list[Path]:
        """Files under the names of shards that are not entered: of fewer pairs, or written and not entered any more."""
        found = (path for part in PARTS for path in (self.path / part).glob("part-*"))
        named = ((path, path.relative_to(self.path).as_posix()) for path in found)
        return [path for path, name in named if _SHARD.fullmatch(name) and name not in entered]

    def whole_shards(self, checksums: Mapping[str, str]) -> set[int]:
        """Units whose files are all there and match their checksums; the rest has to be computed (again)."""
        parts: dict[int, set[str]] = {}
        broken: set[int] = set()
        for name, digest in checksums.items():
            numbered = _SHARD.fullmatch(name)
            if numbered is None:
                continue
            unit = int(numbered[2])
            parts.setdefault(unit, set()).add(numbered[1])
            if not _holds(self.path / name, digest):
                broken.add(unit)
        return {
            unit
            for unit, found in parts.items()
            if unit not in broken and all(each <= found or not each & found for each in _TOGETHER)
        }
