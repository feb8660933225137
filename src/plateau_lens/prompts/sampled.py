"""Prompts sampled from the model itself: its own distribution, so no dataset is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

from plateau_lens._errors import ConfigError, ResourceError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["sample_documents", "sample_windows"]

MIN_DOCUMENT = 64
"""Shortest document, in tokens, that windows are cut from: short windows then start mid-text."""

DOCUMENTS_AT_ONCE = 32
"""Documents written in one batch: keys and values of all their tokens are what takes memory."""

MAX_BARREN_ROUNDS = 8
"""Rounds of sampling in a row that may add no window before we give up."""


def sample_windows(
    model: PreTrainedModel,
    *,
    n_windows: int,
    n_ctx: int,
    start_token: int,
    special_ids: Collection[int],
    seed: int,
    batch: int = 128,
    temperature: float = 1.0,
    windows_per_document: int = 2,
    at_once: int = DOCUMENTS_AT_ONCE,
    accept: Callable[[Int64[np.ndarray, " n_ctx"]], bool] | None = None,
) -> Int64[np.ndarray, "n_windows n_ctx"]:
    """Distinct windows of tokens, cut from documents that the model writes.

    A document is sampled token by token from the full next-token distribution (no top-k, no top-p) after
    `start_token`, which is itself never part of a window. It is `max(64, 2 * n_ctx)` tokens long, less where
    the model allows fewer positions, and ends early at its first special token. At most
    `windows_per_document` windows that do not overlap are cut from it, at random offsets.

    Args:
        model: any Hugging Face causal language model; used as it is, on its device and in its dtype.
        n_windows: how many windows.
        n_ctx: tokens in a window.
        start_token: the id that every document is conditioned on, usually the end-of-text token.
        special_ids: ids that end a document and so never occur in a window.
        seed: seeds generators of this call's own; no global generator is touched.
        batch: most documents sampled at once; part of what the seed decides.
        temperature: divides the logits; 1 is the model's own distribution.
        windows_per_document: most windows cut from one document, so that the prompts stay diverse.
        at_once: most documents written in one batch, which bounds memory; changes nothing beyond rounding.
        accept: returns False for a window to leave out; every window is kept by default.

    Returns:
        `[n_windows, n_ctx]` token ids, no two rows equal: one window of every document, then a second one of every
        document that has two, and so on. So the first rows, which a run takes its pairs from, are independent.

    Raises:
        ConfigError: for a count below 1, or windows longer than the model's positions.
        ResourceError: where the model's distinct, special-free windows run out.
    """
    counts = {"n_windows": n_windows, "n_ctx": n_ctx, "windows_per_document": windows_per_document}
    if wrong := {name: value for name, value in counts.items() if value < 1}:
        raise ConfigError(
            f"must be at least 1: {', '.join(f'{name}={value}' for name, value in wrong.items())}"
        )
    n_tokens = max(MIN_DOCUMENT, 2 * n_ctx)
    if (n_positions := _max_positions(model)) is not None:
        if n_ctx >= n_positions:
            raise ConfigError(
                f"n_ctx={n_ctx} and the start token need {n_ctx + 1} positions, but the model has "
                f"{n_positions}; ask for shorter windows"
            )
        n_tokens = min(n_tokens, n_positions - 1)

    # Two streams, so that how windows are cut does not shift which documents are written.
    document_seeds, cutting_seed = np.random.SeedSequence(seed).spawn(2)
    cutting = np.random.default_rng(cutting_seed)
    seen: set[tuple[int, ...]] = set()
    by_turn: list[list[np.ndarray]] = [[] for _ in range(windows_per_document)]
    barren = 0
    batch = min(batch, -(-n_windows // windows_per_document))
    while len(seen) < n_windows:
        documents = sample_documents(
            model,
            n_documents=batch,
            n_tokens=n_tokens,
            start_token=start_token,
            special_ids=special_ids,
            seed=int(document_seeds.spawn(1)[0].generate_state(1, np.uint64)[0] >> 1),
            temperature=temperature,
            at_once=at_once,
        )
        before = len(seen)
        for document in documents:
            turns = iter(by_turn)
            for window in _cut(document, n_ctx, windows_per_document, cutting):
                tokens = tuple(window.tolist())
                if tokens not in seen and (accept is None or accept(window)):
                    seen.add(tokens)
                    next(turns).append(window)
        barren = barren + 1 if len(seen) == before else 0
        if barren == MAX_BARREN_ROUNDS:
            raise ResourceError(
                f"asked for {n_windows} distinct windows of {n_ctx} tokens without special tokens, but the "
                f"model gave {len(seen)} and then none in {barren * batch} documents; ask for fewer, or "
                "for shorter ones"
            )
    return np.array([window for turn in by_turn for window in turn][:n_windows], dtype=np.int64)


def sample_documents(
    model: PreTrainedModel,
    *,
    n_documents: int,
    n_tokens: int,
    start_token: int,
    special_ids: Collection[int],
    seed: int,
    temperature: float = 1.0,
    at_once: int = DOCUMENTS_AT_ONCE,
) -> list[Int64[np.ndarray, " tokens"]]:
    """Documents written by the model after `start_token`.

    Args:
        model: any Hugging Face causal language model.
        n_documents: how many documents.
        n_tokens: most tokens in a document, the start token not counted.
        start_token: the id that every document is conditioned on; not part of the result.
        special_ids: ids that end a document; not part of the result.
        seed: seeds this call's own generator.
        temperature: divides the logits; 1 is the model's own distribution.
        at_once: most documents written in one batch.

    Returns:
        `n_documents` arrays of at most `n_tokens` token ids each; one may be empty.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that it is the same on every device
    uniform = torch.rand(n_tokens, n_documents, 1, generator=generator, dtype=torch.float64)
    specials = np.array(sorted(special_ids), dtype=np.int64)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return [
                _until_special(row, specials)
                for numbers in uniform.split(at_once, dim=1)
                for row in _write(model, numbers, start_token, specials, temperature)
            ]
    finally:
        model.train(was_training)


def _write(
    model: PreTrainedModel,
    uniform: Float[torch.Tensor, "token document 1"],
    start_token: int,
    specials: np.ndarray,
    temperature: float,
) -> Int64[np.ndarray, "document token"]:
    """One batch of documents, until each has come to a special token."""
    import torch

    ids = torch.full((uniform.shape[1], 1), start_token, device=model.device)
    running = np.ones(len(ids), dtype=bool)
    columns: list[np.ndarray] = []
    cache = None
    for numbers in uniform:
        output = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        ids = _draw(output.logits[:, -1], numbers, temperature).to(model.device)
        columns.append(ids[:, 0].cpu().numpy())
        running &= ~np.isin(columns[-1], specials)
        if not running.any():
            break
    return np.stack(columns, axis=1)


def _draw(
    logits: Float[torch.Tensor, "batch vocab"], uniform: Float[torch.Tensor, "batch 1"], temperature: float
) -> Int64[torch.Tensor, "batch 1"]:
    """Inverse-CDF sampling: one uniform number a row, not one a vocabulary entry."""
    import torch

    from plateau_lens._devices import double

    # float64, because float32 cumulative sums over a vocabulary would clip the tail that T = 1 must keep
    cdf = double(torch.softmax(logits.float() / temperature, dim=-1)).cumsum(dim=-1)
    # the last entry stands for the total, so that rounding can put no draw outside the vocabulary
    drawn = torch.searchsorted(cdf, uniform.to(cdf.device) * cdf[:, -1:], right=True)
    return drawn.clamp_(max=logits.shape[-1] - 1)


def _until_special(tokens: np.ndarray, specials: np.ndarray) -> np.ndarray:
    hits = np.flatnonzero(np.isin(tokens, specials))
    return tokens[: hits[0]] if hits.size else tokens


def _cut(
    document: np.ndarray, n_ctx: int, windows_per_document: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Windows at random offsets that do not overlap, uniform over all ways to place them."""
    n = min(windows_per_document, len(document) // n_ctx)
    if not n:
        return
    slack = len(document) - n * n_ctx
    starts = np.sort(rng.integers(0, slack + 1, size=n)) + np.arange(n) * n_ctx
    for start in rng.permutation(starts):  # or the first of a document would always be its earliest
        yield document[start : start + n_ctx]


def _max_positions(model: PreTrainedModel) -> int | None:
    """Positions that the model accepts, where its configuration says so."""
    return getattr(model.config, "max_position_embeddings", None)
