"""What the stand-in hub serves: a tiny GPT-2, an SAE laid out as gpt2-small-res-jb's, and pre-tokenised rows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from stand_in_hub import Repository

from plateau_lens.models.quiet import quiet

MODEL = "gpt2"
SAE_REPOSITORY = "jbloom/GPT2-Small-SAEs-Reformatted"
DATASET = "apollo-research/Skylion007-openwebtext-tokenizer-gpt2"
SITE = "blocks.1.hook_resid_pre"
D_MODEL, N_LAYERS, VOCAB = 16, 12, 300
D_SAE = 160
SEED = 3


def model_repository(folder: Path) -> Repository:
    """GPT-2 with 12 blocks and random weights, and a byte-level tokenizer in GPT-2's own file layout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    config = GPT2Config(
        n_embd=D_MODEL,
        n_layer=N_LAYERS,
        n_head=2,
        n_positions=64,
        vocab_size=VOCAB,
        bos_token_id=256,
        eos_token_id=256,
    )
    with quiet():
        GPT2LMHeadModel(config).save_pretrained(folder)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    vocabulary = {character: index for index, character in enumerate(_byte_characters())}
    vocabulary["<|endoftext|>"] = 256
    files["vocab.json"] = json.dumps(vocabulary).encode()
    files["merges.txt"] = b"#version: 0.2\n"
    files["tokenizer_config.json"] = json.dumps({"model_max_length": 64}).encode()
    # What a real repository also has and nobody here needs: other formats must not be fetched.
    files["rust_model.ot"] = files["onnx/decoder_model.onnx"] = b"not for us"
    files["pytorch_model.bin"] = b"not for us either"
    return Repository(files)


def sae_repository() -> Repository:
    """A ReLU SAE that reconstructs anything (latents along each axis and against it), with further, rare latents."""
    generator = torch.Generator().manual_seed(SEED)
    axes = torch.eye(D_MODEL)
    rare = torch.nn.functional.normalize(
        torch.randn(D_SAE - 2 * D_MODEL, D_MODEL, generator=generator), dim=-1
    )
    decoder = torch.cat([axes, -axes, rare])
    bias = torch.cat([torch.zeros(2 * D_MODEL), torch.full((len(rare),), -1e3)])
    weights = {
        "W_enc": decoder.T.contiguous(),
        "b_enc": bias,
        "W_dec": decoder,
        "b_dec": torch.zeros(D_MODEL),
    }
    log10 = torch.linspace(-1, -4, D_SAE)
    log10[-1] = -10.0  # dead
    # Keys as of the time the release was made: `hook_point`, no architecture, no version, no prepend_bos.
    config = {
        "model_name": "gpt2-small",
        "hook_point": SITE,
        "hook_point_layer": 1,
        "hook_point_head_index": None,
        "dataset_path": "Skylion007/openwebtext",
        "is_dataset_tokenized": False,
        "context_size": 128,
        "d_in": D_MODEL,
        "d_sae": D_SAE,
        "expansion_factor": 32,
        "l1_coefficient": 8e-05,
        "lr": 0.0004,
        "device": "mps",
        "dtype": "torch.float32",
        "seed": 42,
    }
    return Repository(
        {
            f"{SITE}/cfg.json": json.dumps(config).encode(),
            f"{SITE}/sae_weights.safetensors": save(weights),
            f"{SITE}/sparsity.safetensors": save({"sparsity": log10}),
        }
    )


def dataset_repository() -> Repository:
    """Two Parquet shards of 60 rows of 24 token ids; the first has a row too short and one that repeats."""
    rows = np.random.default_rng(SEED).integers(0, 256, size=(120, 24)).tolist()
    rows[2] = rows[2][:5]
    rows[4] = rows[3]
    return Repository(
        {
            "README.md": b"---\nlicense: cc0-1.0\n---\n",
            "data/train-00000-of-00002.parquet": parquet({"input_ids": rows[:60]}),
            "data/train-00001-of-00002.parquet": parquet({"input_ids": rows[60:]}),
        }
    )


def text_dataset_repository() -> Repository:
    texts = [f"{n:03} is the number of this document." for n in range(40)]
    return Repository({"train.parquet": parquet({"title": ["x"] * 40, "text": ["short", *texts[1:]]})})


def parquet(columns: dict[str, list]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=20)
    return buffer.getvalue()


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return list(bytes_to_unicode().values())
