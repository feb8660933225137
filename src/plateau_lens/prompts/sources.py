"""Prompts by name: the bundled ones, a hub dataset, a text file, or sampled from the model itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from plateau_lens._digest import sha256
from plateau_lens._errors import ResourceError, nearest

if TYPE_CHECKING:
    from plateau_lens.models.sources import LoadedModel

SOURCES = ("bundled", "sampled", "dataset:OWNER/NAME")
DATASET = "dataset:"
"""What a source begins with that names a dataset of the hub."""
BUNDLED_VOCAB = 49152
"""Vocabulary of the tokenizer that the bundled prompts are ids of."""
PROBE = "The quick brown fox: 13 lazy dogs, naïve?"
PROBE_IDS = [504, 2365, 6354, 16438, 42, 216, 33, 35, 23790, 5046, 28, 15486, 46494, 47]
"""What that tokenizer makes of it; other tokenizers of the same size do not."""


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts of equal length."""

    tokens: Int[np.ndarray, "prompt pos"]
    text: list[str]
    """Each prompt as text, or its ids where there is no tokenizer."""
    provenance: dict[str, str | int]
    """What the manifest records."""


def load_prompts(
    loaded: LoadedModel,
    source: str,
    *,
    n_ctx: int,
    at_most: int,
    at_least: int,
    seed: int,
    split: str = "train",
    column: str = "auto",
    revision: str | None = None,
) -> Prompts:
    """Load prompts of ``n_ctx`` tokens, without duplicates, and without BOS but where a dataset put one.

    Args:
        loaded: the model they are for, and its tokenizer.
        source: ``bundled``, ``sampled``, ``dataset:OWNER/NAME`` on the hub, or the path of a text file, one
            document a line. Of a row or line, the first ``n_ctx`` tokens are taken.
        n_ctx: tokens a prompt.
        at_most: prompts taken where there are more.
        at_least: prompts without which a run makes no sense.
        seed: for ``sampled``.
        split: of a dataset.
        column: of a dataset; ``auto`` is token ids where there are any, else text (see `load_windows`).
        revision: of a dataset: branch, tag or commit; None is the default branch.

    Raises:
        ResourceError: if there are too few, they are too short, or they are not this model's.
    """
    if source == "bundled":
        tokens, provenance = _bundled(loaded, n_ctx)
    elif source == "sampled":
        tokens, provenance = _sampled(loaded, n_ctx, at_most, seed)
    elif source.startswith(DATASET):
        from plateau_lens.prompts.dataset import DatasetSource, load_windows

        rows = DatasetSource(source.removeprefix(DATASET), split, column, revision)
        windows = load_windows(loaded, rows, n_ctx=n_ctx, count=at_most)
        tokens, provenance = windows.tokens, windows.provenance
    elif Path(source).is_file():
        tokens, provenance = _text_file(loaded, Path(source), n_ctx)
    else:
        raise ResourceError(
            f"no prompts at {source!r}: not a file, and not one of {', '.join(SOURCES)}{nearest(source, SOURCES)}"
        )
    entries = loaded.model.config.get_text_config().vocab_size
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < entries:
        raise ResourceError(
            f"{source!r} gives token ids from {tokens.min()} to {tokens.max()}, but {loaded.source!r} has "
            f"embeddings of 0 to {entries - 1}; its tokenizer, or the column of ids, belongs to another model"
        )
    # Two equal prompts would have equal activations and no direction between them.
    _, first = np.unique(tokens, axis=0, return_index=True)
    distinct = tokens[np.sort(first)][:at_most]
    if len(distinct) < at_least:
        raise ResourceError(
            f"{source!r} gives {len(distinct)} distinct prompts of {n_ctx} tokens"
            + _details(provenance)
            + f", but {at_least} are needed; use fewer pairs, a smaller prompts.n_ctx, or another prompts.source"
        )
    used = {"used": len(distinct), "tokens_sha256": hashlib.sha256(distinct.tobytes()).hexdigest()}
    return Prompts(distinct, _texts(loaded, distinct), {"source": source, **provenance, **used})


def _details(provenance: dict[str, str | int]) -> str:
    for read in ("lines", "rows"):
        if read in provenance:
            return f" ({provenance[read]} {read}, {provenance['long_enough']} of them at least that long)"
    return ""


def _bundled(loaded: LoadedModel, n_ctx: int) -> tuple[np.ndarray, dict[str, str | int]]:
    import polars as pl

    vocab = loaded.model.config.get_text_config().vocab_size
    probe = (
        loaded.tokenizer.encode(PROBE, add_special_tokens=False)
        if loaded.tokenizer is not None
        else PROBE_IDS
    )
    if vocab != BUNDLED_VOCAB or probe != PROBE_IDS:
        raise ResourceError(
            f"the bundled prompts are token ids of SmolLM2's tokenizer ({BUNDLED_VOCAB} entries), but "
            f"{loaded.source!r} has {vocab if vocab != BUNDLED_VOCAB else 'another one of that size'}; "
            "set prompts.source to 'sampled' or to a text file"
        )
    length = 10 if n_ctx <= 10 else 128
    if n_ctx > length:
        raise ResourceError(
            f"bundled prompts have at most {length} tokens, prompts.n_ctx={n_ctx}; "
            "set prompts.source to 'sampled' or to a text file"
        )
    file = resources.files("plateau_lens.assets").joinpath(f"smollm2-135m/prompts-{length}.parquet")
    with resources.as_file(file) as path:
        tokens = np.array(pl.read_parquet(path)["tokens"].to_list(), dtype=np.int64)
        return tokens[:, :n_ctx], {"file": path.name, "sha256": sha256(path)}


def _sampled(
    loaded: LoadedModel, n_ctx: int, n_windows: int, seed: int
) -> tuple[np.ndarray, dict[str, str | int]]:
    from plateau_lens.prompts.sampled import sample_windows

    start, special = start_token(loaded)
    tokens = sample_windows(
        loaded.model, n_windows=n_windows, n_ctx=n_ctx, start_token=start, special_ids=special, seed=seed
    )
    return tokens, {"start_token": start, "seed": seed}


def start_token(loaded: LoadedModel) -> tuple[int, list[int]]:
    """The id a document starts from, and every id that is no text.

    The end-of-text token where the vocabulary has one by that name, else BOS, else EOS, else id 0.
    """
    tokenizer, config = loaded.tokenizer, loaded.model.config
    special = set(tokenizer.all_special_ids) if tokenizer is not None else set()
    if tokenizer is not None:
        special |= {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        vocab = tokenizer.get_vocab()
        if "<|endoftext|>" in vocab:
            return vocab["<|endoftext|>"], sorted(special | {vocab["<|endoftext|>"]})
    for index in (config.bos_token_id, config.eos_token_id):
        for candidate in index if isinstance(index, list) else [index]:
            if candidate is not None and candidate < config.get_text_config().vocab_size:
                return candidate, sorted(special | {candidate})
    return 0, sorted(special | {0})


def _text_file(loaded: LoadedModel, path: Path, n_ctx: int) -> tuple[np.ndarray, dict[str, str | int]]:
    if loaded.tokenizer is None:
        raise ResourceError(
            f"{loaded.source!r} has no tokenizer, which a text file needs; use prompts.source=sampled"
        )
    try:
        # A byte-order mark, as some editors write, is no part of the first line.
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ResourceError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    # Without BOS, as the paper's prompts. Cut first: a line may be a whole book.
    encoded = [
        loaded.tokenizer.encode(line[: 50 * n_ctx], add_special_tokens=False, verbose=False) for line in lines
    ]
    kept = [ids[:n_ctx] for ids in encoded if len(ids) >= n_ctx]
    tokens = np.array(kept, dtype=np.int64).reshape(len(kept), n_ctx)
    return tokens, {
        "file": path.name,
        "sha256": sha256(path),
        "lines": len(lines),
        "long_enough": len(kept),
    }


def _texts(loaded: LoadedModel, tokens: np.ndarray) -> list[str]:
    if loaded.tokenizer is None:
        return [" ".join(map(str, row)) for row in tokens.tolist()]
    return loaded.tokenizer.batch_decode(tokens.tolist())
