"""The manifest of a run: what it holds, and whether what is read as one can be trusted to be one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

OWN = "sha256"
"""Key of the manifest's own checksum, of all the rest of it."""


def _inside(name: str) -> str:
    """A file's name may not lead out of the folder: what a manifest names is read, written over and taken away."""
    if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise ValueError(f"{name!r} is no file of a run folder")
    return name


Inside = Annotated[str, AfterValidator(_inside)]


class _Entry(BaseModel):
    """A line of the journal: one shard, and what changes with every shard."""

    model_config = ConfigDict(extra="allow", strict=True)

    shards: dict[Inside, str] = {}
    seconds: float = 0.0
    engine_seconds: float = 0.0


class _Population(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    outliers: int = 0


class _Manifest(_Entry):
    """Entries that the library reads; there are more."""

    format: int
    started: str = ""
    finished: str = ""
    measuring: str | None = ""
    population: _Population = _Population()
    request: dict[str, Any] = {}
    files: dict[Inside, str] = {}
    report: dict[Inside, str] = {}
    plugins: dict[str, dict[str, str]] = {}
    measured_again: list[dict[str, Any]] = []


def own_digest(manifest: Mapping[str, Any]) -> str:
    """Checksum of all that a manifest holds."""
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """The entries of a manifest, less its own checksum.

    Raises:
        ValueError: saying what is wrong with it.
    """
    manifest = _read(path.read_text(encoding="utf-8"), _Manifest)
    own = manifest.pop(OWN, None)
    if own not in (None, own_digest(manifest)):
        raise ValueError("its own checksum does not hold: it was changed since it was written")
    return manifest


def read_entry(line: str) -> dict[str, Any]:
    """An entry of the journal.

    Raises:
        ValueError: saying what is wrong with it.
    """
    return _read(line, _Entry)


def _read(text: str, shape: type[BaseModel]) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    try:
        shape.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise ValueError(f"{at}: {first['msg']}" if at else first["msg"]) from None
    return table
