"""Prompts from a dataset of the Hugging Face hub: streamed once, then kept as a small table of token windows.

Streaming fills no cache, so what was read is kept in plateau-lens' own: one Parquet file a dataset, commit,
split, column, prompt length and tokenizer. A run that needs no more windows than it holds streams nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from plateau_lens._errors import ResourceError, nearest
from plateau_lens.models.hub import HubUnreachableError, attempt, dataset_commit, offline
from plateau_lens.models.wheel import cache_root
from plateau_lens.prompts.let_go import let_go_before_the_end

if TYPE_CHECKING:
    from plateau_lens.models.sources import LoadedModel

TOKEN_COLUMNS = ("input_ids", "tokens")
"""Columns taken for token ids when ``column`` is ``auto``; the text column is ``text``."""
MAX_ROWS_A_WINDOW = 100
"""Rows read for each window asked for, before we stop: most rows must be too short or the same."""
_PROVENANCE = "plateau-lens"


@dataclass(frozen=True)
class Windows:
    """The first tokens of a dataset's rows, all different, in the dataset's order."""

    tokens: Int64[np.ndarray, "window pos"]
    provenance: dict[str, str | int]
    """dataset, revision (commit), split, column, rows read and long enough, sha256 of the tokens."""


@dataclass(frozen=True)
class DatasetSource:
    """Which rows of which dataset."""

    name: str
    split: str = "train"
    column: str = "auto"
    """Token ids (a list) or text (a string); auto: ``input_ids`` or ``tokens``, else ``text``."""
    revision: str | None = None
    """Branch, tag or commit; None is the default branch."""

    def __str__(self) -> str:
        return f"the dataset {self.name!r}"


def load_windows(loaded: LoadedModel, source: DatasetSource, *, n_ctx: int, count: int) -> Windows:
    """The first `n_ctx` tokens of each row that has as many, until there are `count` different ones.

    A row of token ids is taken as it is: it begins with BOS only where the dataset put one. Text is tokenised
    without special tokens.

    Raises:
        ResourceError: if the dataset cannot be had, has no such split or column, or holds other ids than the
            model's.
    """
    folder = cache_root() / "prompts" / source.name.replace("/", "--")
    commit = _commit(source, folder)
    file = folder / commit / f"{_key(source, loaded, n_ctx)}.parquet"
    kept = _read(file)
    if kept is None or (len(kept.tokens) < count and not kept.provenance["exhausted"]):
        if offline():
            found = "nothing" if kept is None else f"{len(kept.tokens)} windows"
            raise ResourceError(
                f"{source} has {found} of {n_ctx} tokens in the cache ({folder}), {count} are wanted, and "
                "HF_HUB_OFFLINE forbids reading more; run `plateau-lens fetch` with the network once"
            )
        kept = _stream(loaded, source, commit, n_ctx=n_ctx, count=count)
        _write(file, kept)
    tokens = kept.tokens[:count]
    vocab = loaded.model.config.get_text_config().vocab_size
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab:
        raise ResourceError(
            f"{source} holds token ids from {tokens.min()} to {tokens.max()}, but {loaded.source!r} has ids "
            f"0..{vocab - 1}: it was tokenised for another model; choose another dataset, or a text column"
        )
    record: dict[str, str | int] = {
        key: value for key, value in kept.provenance.items() if key != "exhausted"
    }
    return Windows(tokens, {**record, "tokens_sha256": hashlib.sha256(tokens.tobytes()).hexdigest()})


def _commit(source: DatasetSource, folder: Path) -> str:
    """Commit of the revision asked for: from the hub, or the one it was when the hub was last asked."""
    if re.fullmatch(r"[0-9a-f]{40}", source.revision or "") and (folder / str(source.revision)).is_dir():
        return str(source.revision)
    remembered = folder / "refs" / hashlib.sha256((source.revision or "").encode()).hexdigest()[:12]
    if not offline():
        try:
            commit = dataset_commit(source.name, source.revision)
        except HubUnreachableError:
            if not remembered.is_file():
                raise
        else:
            with _whole(remembered) as temporary:
                temporary.write_text(commit)
            return commit
    if not remembered.is_file():
        raise ResourceError(
            f"{source} is not in the cache ({folder}), and HF_HUB_OFFLINE forbids reading it; "
            "run `plateau-lens fetch` with the network once"
        )
    return remembered.read_text()


def _key(source: DatasetSource, loaded: LoadedModel, n_ctx: int) -> str:
    """Names what the windows depend on beside the dataset's commit."""
    backend = getattr(loaded.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        tokenizer = backend.to_str()
    else:
        tokenizer = json.dumps(sorted(loaded.tokenizer.get_vocab().items())) if loaded.tokenizer else ""
    parts = json.dumps([source.split, source.column, n_ctx, tokenizer])
    return f"{n_ctx}-tokens-{hashlib.sha256(parts.encode()).hexdigest()[:16]}"


def _stream(loaded: LoadedModel, source: DatasetSource, commit: str, *, n_ctx: int, count: int) -> Windows:
    def read() -> Windows:
        windows: dict[tuple[int, ...], None] = {}  # a dict, not a set: keeps the order
        column: _Column | None = None
        n_rows = long_enough = 0
        with _rows(source, commit) as rows:
            for row in itertools.islice(rows, MAX_ROWS_A_WINDOW * count):
                column = column or _choose_column(source, row, loaded)
                value = row[column.name]
                ids = _token_ids(loaded, value, n_ctx) if column.is_text else value
                n_rows += 1
                if ids is not None and len(ids) >= n_ctx:
                    long_enough += 1
                    windows.setdefault(tuple(ids[:n_ctx]))
                if len(windows) == count:
                    break
        if column is None:
            raise ResourceError(f"{source} has no rows in its split {source.split!r}")
        tokens = np.array(list(windows), dtype=np.int64).reshape(len(windows), n_ctx)
        provenance: dict[str, str | int] = {
            "dataset": source.name,
            "revision": commit,
            "split": source.split,
            "column": column.name,
            "rows": n_rows,
            "long_enough": long_enough,
            "exhausted": int(len(windows) < count),
        }
        return Windows(tokens, provenance)

    return attempt(str(source), read)


def _token_ids(loaded: LoadedModel, text: str | None, n_ctx: int) -> list[int] | None:
    assert loaded.tokenizer is not None
    if text is None:
        return None
    # Cut first: a row may be a whole book.
    return loaded.tokenizer.encode(text[: 50 * n_ctx], add_special_tokens=False, verbose=False)


class _Column(NamedTuple):
    name: str
    is_text: bool


def _choose_column(source: DatasetSource, row: Mapping[str, Any], loaded: LoadedModel) -> _Column:
    wanted = (*TOKEN_COLUMNS, "text") if source.column == "auto" else (source.column,)
    name = next((name for name in wanted if name in row), None)
    if name is None:
        raise ResourceError(
            f"{source} has no column {' or '.join(map(repr, wanted))}; it has {', '.join(map(repr, row))}: "
            f"name the one with token ids or text in prompts.column{nearest(wanted[0], row)}"
        )
    value = row[name]
    is_text = isinstance(value, str)
    if not is_text and not (isinstance(value, list) and all(isinstance(each, int) for each in value)):
        raise ResourceError(
            f"{source} has {type(value).__name__} in its column {name!r}; a prompt is a string or a list of token "
            "ids: name another prompts.column"
        )
    if is_text and loaded.tokenizer is None:
        raise ResourceError(
            f"{source} has text in {name!r}, but {loaded.source!r} has no tokenizer; name a column of token ids in "
            "prompts.column, or use prompts.source=sampled"
        )
    return _Column(name, is_text)


@contextmanager
def _rows(source: DatasetSource, commit: str) -> Generator[Iterable[dict[str, Any]]]:
    """Rows of the split, streamed."""
    from plateau_lens.models.quiet import quiet

    with quiet():
        import datasets

        with _patient_for_seconds(), let_go_before_the_end():
            yield datasets.load_dataset(source.name, split=source.split, revision=commit, streaming=True)


@contextmanager
def _patient_for_seconds() -> Generator[None]:
    """Leave waiting to the hub's client: `datasets` would wait and try again for half an hour on top of it."""
    from datasets import config
    from datasets.utils import logging

    changed = {name: 1 for name in ("STREAMING_READ_MAX_RETRIES", "STREAMING_OPEN_MAX_RETRIES")}
    changed |= {
        name: 0 for name in dir(config) if name.startswith("STREAMING_") and name.endswith("_INTERVAL")
    }
    before = {name: getattr(config, name) for name in changed}
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    try:
        for name, value in changed.items():
            setattr(config, name, value)
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _read(file: Path) -> Windows | None:
    """What is kept; None if nothing is, or nothing readable."""
    import polars as pl

    if not file.is_file():
        return None
    try:
        provenance = json.loads(pl.read_parquet_metadata(file)[_PROVENANCE])
        tokens = pl.read_parquet(file)["tokens"].to_numpy()
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
        return None
    return Windows(tokens.astype(np.int64, copy=False), provenance)


def _write(file: Path, windows: Windows) -> None:
    import polars as pl

    n_ctx = windows.tokens.shape[1]
    table = pl.DataFrame({"tokens": windows.tokens}, schema={"tokens": pl.Array(pl.Int64, n_ctx)})
    with _whole(file) as temporary:
        table.write_parquet(temporary, metadata={_PROVENANCE: json.dumps(dict(windows.provenance))})


@contextmanager
def _whole(path: Path) -> Generator[Path]:
    """A temporary name beside `path`, renamed onto it when all is written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ResourceError(
            f"cannot write to {path.parent}: {error.strerror}; set PLATEAU_LENS_CACHE to a folder of yours"
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
