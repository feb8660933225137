"""What a target of each kind costs, beside the encoding and decoding of one code: CPU milliseconds.

    python benchmarks/kinds.py [--d-model 768] [--d-sae 24576] [--active 57] [--pairs 100] [--unit 10] [--json FILE]

With a random dictionary of the given shape (GPT-2 small's by default) and the kinds of the ladder preset, one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from plateau_lens import Dictionary, PairBlock, load_config
from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import make_kinds
from plateau_lens.models.quiet import quiet
from plateau_lens.saes.firing import Firing


def random_dictionary(d_model: int, d_sae: int, active: int, activations: torch.Tensor) -> Dictionary:
    """A random autoencoder of which about so many latents are active, with frequencies over four decades."""
    with quiet():
        from sae_lens import StandardSAE, StandardSAEConfig

        sae = StandardSAE(StandardSAEConfig(d_in=d_model, d_sae=d_sae))
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(d_sae, d_model, generator=generator), dim=-1)
    with torch.no_grad():
        sae.W_dec.copy_(directions)
        sae.W_enc.copy_(directions.T)
        sae.b_dec.zero_()
        scores = activations[:100] @ directions.T
        sae.b_enc.fill_(-float(scores.topk(active, dim=-1).values[:, -1].median()))
    sae.eval().requires_grad_(False)
    frequency = 10 ** (-1 - 4 * torch.rand(d_sae, generator=generator, dtype=torch.float64))
    return Dictionary(sae, "random", frequency, "drawn", {})


def milliseconds(work: Callable[[PairBlock], object], blocks: list[PairBlock], pairs: int) -> float:
    """Median over three rounds, a pair; the first round, which fills caches, is left out."""
    rounds: list[float] = []
    for _ in range(4):
        started = time.process_time()
        for block in blocks:
            work(block)
        rounds.append(1000 * (time.process_time() - started) / pairs)
    return statistics.median(rounds[1:])


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--d-sae", type=int, default=24576)
    parser.add_argument("--active", type=int, default=57)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--unit", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everyone = torch.randn(3000, arguments.d_model, generator=torch.Generator().manual_seed(0))
    dictionary = random_dictionary(arguments.d_model, arguments.d_sae, arguments.active, everyone)
    population = Population(everyone, seed=0)
    firing = Firing(dictionary, everyone)
    blocks = [
        PairBlock(
            pair=pair,
            base=everyone[pair],
            other=everyone[pair + 1],
            population=population,
            dictionary=dictionary,
            top_cosine=0.4,
            seed=0,
            firing=firing,
        )
        for pair in np.arange(arguments.pairs).reshape(-1, arguments.unit)
    ]
    found = {
        "encode": milliseconds(lambda block: dictionary.encode(block.base), blocks, arguments.pairs),
        "decode": milliseconds(lambda block: dictionary.decode(block.code), blocks, arguments.pairs),
    }
    for label, kind in make_kinds(load_config("ladder-gpt2").kinds).items():
        make = kind.code_of if isinstance(kind, CodeKind) else kind.draw
        found[label] = milliseconds(lambda block, make=make: make(block, "kind"), blocks, arguments.pairs)
    active = float(np.mean([float((block.code > 0).sum(dim=-1).float().mean()) for block in blocks]))
    record = {
        "d_model": arguments.d_model,
        "d_sae": arguments.d_sae,
        "active_latents": active,
        "unit": arguments.unit,
        "cpu_milliseconds_a_target": {name: round(value, 3) for name, value in found.items()},
    }
    print(json.dumps(record, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
