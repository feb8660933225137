"""What the bundled SAE is trained on: documents of tokens, and the activations of contexts cut from them."""

from __future__ import annotations

import gzip
import html
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from plateau_lens.models.sites import Site, decoder_blocks
from plateau_lens.prompts.sampled import sample_documents

SITE = "blocks.1.hook_resid_pre"
CONTEXTS = range(4, 33)
"""Lengths of the contexts activations are computed in, in tokens; each is as likely as any other."""

Documents = list[np.ndarray]

_PASSAGE = 4000  # characters: files are cut into passages, so that a cap takes some of every file
_TEXT_SUFFIXES = {"", ".txt", ".md", ".html", ".gz", ".dz", ".pod", ".py"}
_MARKUP = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class _Stop(Exception):
    """Raised once the site is reached: no later block is run."""


@torch.inference_mode()
def site_activations(
    model: PreTrainedModel, tokens: Int64[Tensor, "batch pos"], site: str = SITE
) -> Float[Tensor, "batch pos d_model"]:
    """The plain Hugging Face residual stream at a `hook_resid_pre`; blocks from the site on are not run."""
    blocks = decoder_blocks(model)
    caught: list[Tensor] = []

    def catch(_module: object, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        caught.append(args[0] if args else kwargs["hidden_states"])
        raise _Stop

    handle = blocks[Site.parse(site, n_blocks=len(blocks)).boundary].register_forward_pre_hook(
        catch, with_kwargs=True
    )
    try:
        model(input_ids=tokens, use_cache=False)
    except _Stop:
        pass
    finally:
        handle.remove()
    return caught[0]


def sampled(
    model: PreTrainedModel,
    *,
    n_tokens: int,
    start_token: int,
    special_ids: set[int],
    seed: int,
    batch: int = 512,
) -> Documents:
    """Documents of up to 64 tokens that the model writes, at least `n_tokens` in all.

    In bfloat16, three times faster here than float32: training text need not be an exact sample, as the
    bundled prompts are.
    """
    writer = model.to(torch.bfloat16)
    documents: Documents = []
    seeds = np.random.SeedSequence(seed)
    done, started = 0, time.perf_counter()
    while done < n_tokens:
        written = sample_documents(
            writer,
            n_documents=batch,
            n_tokens=64,
            start_token=start_token,
            special_ids=special_ids,
            seed=int(seeds.spawn(1)[0].generate_state(1)[0]),
        )
        documents += written
        done += sum(map(len, written))
        rate = done / (time.perf_counter() - started)
        print(f"sampled {done:,} of {n_tokens:,} tokens, {rate:.0f} a second", flush=True)
    return documents


def texts(
    paths: Sequence[Path], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, seed: int
) -> Documents:
    """Token documents from text files: from each of `paths`, random passages up to `max_tokens` tokens."""
    rng = np.random.default_rng(seed)
    documents: Documents = []
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        passages = [passage for file in files for passage in _passages(file)]
        rng.shuffle(passages)
        room = max_tokens
        for start in range(0, len(passages), 256):
            ids = tokenizer(passages[start : start + 256], add_special_tokens=False).input_ids
            documents += [np.array(row, dtype=np.int64) for row in ids if row]
            room -= sum(map(len, ids))
            if room <= 0:
                break
        print(f"{path.name}: {max_tokens - room:,} tokens of {len(files)} files", flush=True)
    return documents


def save_documents(documents: Documents, path: Path) -> None:
    """Cache documents as one flat array and their lengths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, tokens=np.concatenate(documents).astype(np.int32), lengths=[len(d) for d in documents])


def load_documents(path: Path) -> Documents:
    """Read what `save_documents` wrote."""
    stored = np.load(path)
    return np.split(stored["tokens"].astype(np.int64), np.cumsum(stored["lengths"])[:-1])


def contexts(
    documents: Documents, *, seed: int, lengths: Sequence[int] = CONTEXTS, batch: int = 256
) -> Iterator[Int64[np.ndarray, "batch pos"]]:
    """One pass over the documents in shuffled batches of contexts, all contexts of a batch equally long.

    A document is cut from a random offset into contexts of one random length; what is left over at its
    ends is not used in this pass.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(lengths, size=len(documents))
    batches: list[np.ndarray] = []
    for length in lengths:
        rows = [
            _rows(document, length, rng)
            for document, own in zip(documents, drawn, strict=True)
            if own == length and len(document) >= length
        ]
        if rows:
            stacked = np.concatenate(rows)
            rng.shuffle(stacked)
            batches += [stacked[start : start + batch] for start in range(0, len(stacked), batch)]
    for index in rng.permutation(len(batches)):
        yield batches[index]


class ActivationStream:
    """An endless data provider for SAELens: mixed batches of activations at every position."""

    def __init__(
        self, model: PreTrainedModel, documents: Documents, *, batch: int, seed: int, buffer: int = 65_536
    ) -> None:
        self.model, self.documents, self.batch, self.seed, self.buffer = model, documents, batch, seed, buffer
        self._batches = self._produce()

    def __iter__(self) -> ActivationStream:
        return self

    def __next__(self) -> Float[Tensor, "batch d_model"]:
        return next(self._batches)

    def _produce(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        held: list[Tensor] = []
        for tokens in self._passes():
            # rounding noise of about 1e-5 of the variance, for twice the speed
            with torch.autocast(self.model.device.type, torch.bfloat16):
                held.append(site_activations(self.model, torch.from_numpy(tokens)).flatten(0, 1).float())
            if sum(map(len, held)) < self.buffer:
                continue
            pool = torch.cat(held)
            pool = pool[torch.randperm(len(pool), generator=generator)]
            # half is kept back and mixed with what comes next
            served = len(pool) // 2 // self.batch * self.batch
            yield from pool[:served].split(self.batch)
            held = [pool[served:]]

    def _passes(self) -> Iterator[np.ndarray]:
        for epoch_seed in iter(np.random.SeedSequence(self.seed).spawn(1000)):
            yield from contexts(self.documents, seed=int(epoch_seed.generate_state(1)[0]))


def _rows(document: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    n, spare = divmod(len(document), length)
    offset = rng.integers(0, spare + 1)
    return document[offset : offset + n * length].reshape(n, length)


def _passages(file: Path) -> list[str]:
    """A file's text in passages; nothing for a file that is no text."""
    if file.suffix not in _TEXT_SUFFIXES or file.is_symlink():
        return []
    data = file.read_bytes()
    if file.suffix in {".gz", ".dz"}:
        data = gzip.decompress(data)
    text = data.decode(errors="ignore")
    if len(text.encode()) < 0.999 * len(data) or "\0" in text:
        return []
    if file.suffix == ".html" or ".html." in file.name or text.lstrip()[:9].lower() == "<!doctype":
        text = html.unescape(_MARKUP.sub("", text))
    return [text[start : start + _PASSAGE] for start in range(0, len(text), _PASSAGE)]
