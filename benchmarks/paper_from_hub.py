"""The preset ``gpt2-paper`` end to end at its full sizes, from a stand-in hub on loopback, with random weights.

    python benchmarks/paper_from_hub.py [--pairs 20] [--json FILE]

A model of GPT-2 small's shape, an SAE of 24,576 latents laid out as ``gpt2-small-res-jb`` and 33,000 pre-tokenised
rows are served by the tests' stand-in hub; the command line fetches them as it would from the real one, and runs the
preset with its population of 32,000. What comes out says nothing of GPT-2: the weights are random. It says that every
table and figure is made, how long that takes, and in how much memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = 33_000
"""Rows of the dataset; some more than the population, because equal windows count once."""

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "hub"))


def repositories(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Models and datasets to serve, by name."""
    import numpy as np
    import torch
    from repositories import DATASET, MODEL, SAE_REPOSITORY, SITE, model_repository, parquet, sae_repository
    from safetensors.torch import save
    from stand_in_hub import Repository

    from plateau_lens import SuffixEngine
    from plateau_lens.bench.random_gpt2 import random_gpt2
    from plateau_lens.bench.structured import random_dictionary

    tokenizer = model_repository(folder / "tiny").files
    model = random_gpt2()
    model.save_pretrained(folder / "gpt2")
    files = {
        name: content for name, content in tokenizer.items() if not name.endswith((".safetensors", ".bin"))
    }
    files |= {file.name: file.read_bytes() for file in (folder / "gpt2").iterdir()}

    tokens = torch.randint(1, 50_000, (250, 10), generator=torch.Generator().manual_seed(0))
    activations = SuffixEngine(model).site_activations(tokens)
    sae = random_dictionary(activations.shape[1]).sae
    # Its bias suits activations as long as the square root of d_model; these have a length of their own.
    weights = {name: getattr(sae, name).detach().clone() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    weights["b_enc"] *= activations.norm(dim=-1).mean() / activations.shape[1] ** 0.5
    described = json.loads(sae_repository().files[f"{SITE}/cfg.json"])
    described |= {"d_in": activations.shape[1], "d_sae": len(weights["W_dec"])}
    latents = {
        f"{SITE}/cfg.json": json.dumps(described).encode(),
        f"{SITE}/sae_weights.safetensors": save(weights),
        f"{SITE}/sparsity.safetensors": save({"sparsity": torch.linspace(-1, -4, len(weights["W_dec"]))}),
    }
    rows = np.random.default_rng(0).integers(0, 50_000, size=(ROWS, 16)).tolist()
    dataset = Repository({"data/train-00000-of-00001.parquet": parquet({"input_ids": rows})})
    return {MODEL: Repository(files), SAE_REPOSITORY: Repository(latents)}, {DATASET: dataset}


def command(*arguments: str, environment: dict[str, str], cwd: Path) -> float:
    """Run `plateau-lens` in a process of its own; its seconds."""
    since = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from plateau_lens.cli import main; main()", *arguments],
        env=environment,
        cwd=cwd,
        check=True,
    )
    return round(time.perf_counter() - since, 1)


def main() -> None:
    """Serve, fetch, run, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the result here as well")
    parser.add_argument("--keep", type=Path, help="leave the run folder here")
    options = parser.parse_args()
    from stand_in_hub import StandInHub

    from plateau_lens import load_config

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        models, datasets = repositories(folder)
        hub = StandInHub(models=models, datasets=datasets)
        hub.start()
        try:
            environment = {
                **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))},
                "HF_HOME": str(folder / "hf"),
                "PLATEAU_LENS_CACHE": str(folder / "cache"),
                "HF_ENDPOINT": hub.endpoint,
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
            }
            out = str((options.keep or folder / "run").resolve())
            # Random latents explain no activation: only a forced run takes them.
            run = ("run", "gpt2-paper", "--pairs", str(options.pairs), "--out", out, "--force")
            # The thresholds that suit GPT-2's weights suit no others.
            free = ("--set", "statistics.ap.threshold=auto", "--set", "step_size=auto")
            seconds = command(*run, *free, environment=environment, cwd=folder)
        finally:
            hub.stop()
        made = Path(out)
        manifest = json.loads((made / "manifest.json").read_text())
        found = {
            "preset": "gpt2-paper",
            "pairs": options.pairs,
            "population": load_config(made / "config.yaml").prompts.population,
            "seconds": seconds,
            "engine_seconds": round(manifest["engine_seconds"], 1),
            "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
            "tables": sorted(path.name for path in (made / "tables").iterdir()),
            "figures": sorted(path.name for path in (made / "figures").glob("*.png")),
        }
    text = json.dumps(found, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
