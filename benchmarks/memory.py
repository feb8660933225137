"""Memory and wall time of a whole run, at any number of pairs.

    python benchmarks/memory.py [--shape tiny] [--pairs 1000] [--unit-size 10] [--threads 1] [--keep DIR] [--json FILE]

Shapes, both with random weights:

* ``tiny``: GPT-2's architecture with d_model 16 and a vocabulary of 100, an SAE of 64 latents. They are of next to no
  size, so that what is left is what a run holds for its pairs.
* ``gpt2-small``: the preset ``gpt2-paper`` with a model of GPT-2 small's shape, prompts sampled from it, and an SAE of
  24,576 latents, about 40 of them active in a code, as in a trained one.

Prints, for every stage of the run, its seconds and the peak of the process's resident memory (Linux: the peak is read,
and reset after each stage, under /proc/self), beside the size of the model's weights.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

D_MODEL, VOCAB, D_SAE, N_CTX = 16, 100, 64, 6
MIB = 1024  # /proc counts in KiB


class Stages:
    """Seconds and peak memory of each stage that a run tells of."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._doing = "imports"
        self._since = time.perf_counter()

    def tell(self, doing: str, done: int, total: int) -> None:
        """A run's ``progress``; the end of a stage is the beginning of the next."""
        if doing == self._doing:
            return
        now = time.perf_counter()
        self.stages[self._doing] = {"seconds": round(now - self._since, 2), "peak_mib": peak_mib()}
        Path("/proc/self/clear_refs").write_text("5")
        self._doing, self._since = doing, now


def peak_mib() -> int:
    """Peak resident memory since it was last reset, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // MIB for line in lines if line.startswith("VmHWM"))


def make_model(folder: Path) -> str:
    """A random two-block GPT-2."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=80,
        n_embd=D_MODEL,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    model: Any = GPT2LMHeadModel(config)
    model.save_pretrained(folder / "model")
    return str(folder / "model")


def make_sae(folder: Path) -> str:
    """A random SAE that reconstructs well: latents in opposite pairs along random orthogonal directions."""
    import torch
    from sae_lens import StandardSAE, StandardSAEConfig

    sae = StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=D_SAE))
    generator = torch.Generator().manual_seed(1)
    bases = [torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, generator=generator))[0] for _ in range(2)]
    directions = torch.cat([sign * basis for basis in bases for sign in (1, -1)])
    with torch.no_grad():
        sae.W_dec.copy_(directions)
        sae.W_enc.copy_(directions.T / 2)
    sae.save_model(folder / "sae")
    return str(folder / "sae")


def tiny(folder: Path, pairs: int) -> dict[str, Any]:
    """A run whose model and SAE weigh nothing."""
    return {
        "model": {"source": make_model(folder)},
        "prompts": {"source": "sampled", "n_ctx": N_CTX, "population": max(pairs, 200)},
        "sae": {"source": make_sae(folder)},
        "kinds": {
            "model-generated": {},
            "random": {},
            "synthetic-structured": {"neighbours": 20},
            "synthetic-baseline": {},
            "sae-reconstruction": {},
        },
    }


def gpt2_small(folder: Path, pairs: int) -> dict[str, Any]:
    """The paper's run at its full size, on weights that need no hub."""
    import torch

    from plateau_lens import SuffixEngine
    from plateau_lens.bench.random_gpt2 import random_gpt2
    from plateau_lens.bench.structured import random_dictionary

    model = random_gpt2()
    model.save_pretrained(folder / "model")
    tokens = torch.randint(1, 50_000, (250, 10), generator=torch.Generator().manual_seed(0))
    activations = SuffixEngine(model).site_activations(tokens)
    sae = random_dictionary(activations.shape[1]).sae
    # Its bias suits activations as long as the square root of d_model; these have a length of their own.
    sae.b_enc.mul_(activations.norm(dim=-1).mean() / activations.shape[1] ** 0.5)
    sae.save_model(folder / "sae")
    return {
        "preset": "gpt2-paper",
        "model": {"source": str(folder / "model")},
        "prompts": {"source": "sampled", "n_ctx": 10, "population": max(pairs, 3000)},
        "sae": {"source": str(folder / "sae"), "id": None},
        "step_size": "auto",
        "statistics": {"ap": {"threshold": "auto"}},
    }


SHAPES = {"tiny": tiny, "gpt2-small": gpt2_small}


def measure(shape: str, pairs: int, unit_size: int, folder: Path) -> dict[str, Any]:
    """A whole run, report included; its model is made in a process of its own, whose memory is not counted."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        table = pool.submit(SHAPES[shape], folder, pairs).result()
    stages = Stages()
    import torch

    from plateau_lens import load_config, run

    # A preset is named in a file; a table is taken as it is.
    (folder / "run.yaml").write_text(json.dumps(table))
    config = load_config(folder / "run.yaml", {"pairs": pairs, "unit_size": unit_size})
    # Random latents explain no activation: only a forced run takes them.
    found = run(config, folder / "run", force=True, progress=stages.tell)
    stages.tell("end", pairs, pairs)
    manifest = found.manifest()
    files = [path for path in found.path.rglob("*") if path.is_file()]
    return {
        "shape": shape,
        "weights_mib": sum(path.stat().st_size for path in (folder / "model").glob("*.safetensors")) >> 20,
        "pairs": pairs,
        "curves": 20 * pairs,
        "unit_size": unit_size,
        "shards": len(manifest["shards"]) // 3,
        "stages": stages.stages,
        "peak_mib": max(stage["peak_mib"] for stage in stages.stages.values()),
        "seconds": round(sum(stage["seconds"] for stage in stages.stages.values()), 1),
        "engine_seconds": round(manifest["engine_seconds"], 1),
        "folder_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {name: metadata.version(name) for name in ("plateau-lens", "torch", "polars", "numpy")},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--unit-size", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the run folder here")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(measure(options.shape, options.pairs, options.unit_size, folder), indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
