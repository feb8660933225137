"""The whole paper on one GPU: 1,000 pairs x 9 curves on GPT-2 small's shape with random weights.

    python benchmarks/gpu.py [--device cuda] [--pairs 1000] [--unit-size 100] [--json FILE]

The 9 curves of a pair are the paper's: toward model-generated, random, structured, baseline and reconstructed
targets, and from the first four toward random ones. For each precision of the matrix products, timed after
loading: the population's activations, targets of every kind with a random 24,576-latent dictionary, and L2 and
KL of 101 steps of every curve. Files and statistics are not part of it. Target: under 15 s on one H100.
On a CPU, which this script is tested on, pass a few pairs and perhaps ``--tiny``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plateau_lens import PairBlock, SuffixEngine
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import Kind, make_kinds
from plateau_lens.bench.machine import machine, versions
from plateau_lens.bench.random_gpt2 import random_gpt2
from plateau_lens.bench.structured import TOP_COSINE, random_dictionary
from plateau_lens.models.centring import centred
from plateau_lens.saes.dictionary import Dictionary

TOWARD = ("model-generated", "random", "synthetic-structured", "synthetic-baseline", "sae-reconstruction")
FROM = TOWARD[:4]
N_CTX, N_STEPS, STEP_SIZE = 10, 100, 0.5
TARGET_SECONDS = 15.0


class Paper:
    """The paper's curves with one engine."""

    def __init__(self, engine: SuffixEngine, tokens: Tensor, dictionary: Dictionary, *, unit_size: int):
        self.engine, self.tokens, self.dictionary, self.unit_size = engine, tokens, dictionary, unit_size
        self.kinds = make_kinds({name: {} for name in TOWARD})
        self.seconds: dict[str, float] = {}

    def run(self, pairs: int) -> dict[str, float]:
        """Seconds of each part and in all."""
        self.seconds = dict.fromkeys(("population", "kinds", "curves"), 0.0)
        started = time.perf_counter()
        with self._clock("population"):
            population = Population(self.engine.site_activations(self.tokens), seed=0)
        for start in range(0, pairs, self.unit_size):
            self._unit(population, np.arange(start, min(start + self.unit_size, pairs)))
        return {**self.seconds, "total": time.perf_counter() - started}

    def _unit(self, population: Population, pair: np.ndarray) -> None:
        with self._clock("kinds"):
            paths = list(self._paths(population, pair))
        with self._clock("curves"):
            prefix = self.engine.prefix(self.tokens[torch.from_numpy(pair)])
            along = STEP_SIZE * torch.arange(N_STEPS + 1, device=self.engine.device)
            for base, target in paths:
                direction = torch.nn.functional.normalize(target - base, dim=-1)
                points = base[:, None] + along[:, None] * direction[:, None]
                for values in self.engine.respond(prefix, points).values():
                    if not values.cpu().isfinite().all():
                        raise RuntimeError("a curve is not finite")

    def _paths(self, population: Population, pair: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Base and target of each curve."""
        others = population.others(pair, np.ones_like(pair))
        block = PairBlock(
            pair=pair,
            base=population.activations[torch.from_numpy(pair)],
            other=population.activations[torch.from_numpy(others)],
            population=population,
            dictionary=self.dictionary,
            top_cosine=TOP_COSINE,
            seed=0,
        )
        drawn = {name: self._draw(kind, name, block) for name, kind in self.kinds.items()}
        fresh = population.gaussian(block.rngs("from-target"))
        yield from ((block.base, drawn[name]) for name in TOWARD)
        yield from ((drawn[name], fresh) for name in FROM)

    def _draw(self, kind: Kind, name: str, block: PairBlock) -> Tensor:
        return centred(kind.make(block, f"kind:{name}").activation.to(block.base), self.engine.centre)

    def _clock(self, part: str) -> _Clock:
        return _Clock(self.seconds, part, self.engine.device)


class _Clock:
    """Adds the wall time of a ``with`` block to a part, its work on the GPU included."""

    def __init__(self, seconds: dict[str, float], part: str, device: torch.device):
        self.seconds, self.part, self.device = seconds, part, device

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[self.part] += time.perf_counter() - self.started


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every precision in turn, ``--repeats`` times, after one round of a single unit to warm up."""
    device = torch.device(arguments.device)
    model = random_gpt2(tiny=arguments.tiny, device=arguments.device)
    population = max(arguments.population, arguments.pairs)
    tokens = torch.randint(20, model.config.vocab_size, (population, N_CTX))
    dictionary = random_dictionary(model.config.n_embd, d_sae=arguments.d_sae, device=arguments.device)
    papers: dict[str, Paper] = {}
    for matmul in arguments.matmul:
        engine = SuffixEngine(model) if matmul == "float32" else SuffixEngine(model, matmul=matmul)
        papers[matmul] = Paper(engine, tokens.to(device), dictionary, unit_size=arguments.unit_size)
    runs: dict[str, list[dict[str, float]]] = {matmul: [] for matmul in papers}
    for paper in papers.values():
        paper.run(min(arguments.pairs, arguments.unit_size))
    for _ in range(arguments.repeats):
        for matmul, paper in papers.items():
            runs[matmul].append(paper.run(arguments.pairs))
    median = {matmul: statistics.median(run["total"] for run in runs[matmul]) for matmul in papers}
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return {
        "pairs": arguments.pairs,
        "curves": arguments.pairs * (len(TOWARD) + len(FROM)),
        "seconds": median,
        "target": f"< {TARGET_SECONDS:g} s for 1000 pairs on one H100",
        "met": {matmul: seconds < TARGET_SECONDS for matmul, seconds in median.items()}
        if arguments.pairs >= 1000 and not arguments.tiny
        else None,
        "runs": runs,
        "peak_gpu_memory_gb": peak,
        "settings": {name: value for name, value in vars(arguments).items() if name != "json"},
        "machine": machine(device),
        "versions": versions(),
    }


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--population", type=int, default=3000)
    parser.add_argument("--unit-size", type=int, default=100)
    parser.add_argument("--d-sae", type=int, default=24_576)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--matmul", nargs="+", choices=("float32", "tf32", "bfloat16"))
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try the script itself")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.matmul is None:
        tf32 = ["tf32"] if arguments.device.startswith("cuda") else []
        arguments.matmul = ["float32", *tf32, "bfloat16"]
    text = json.dumps(measure(arguments), indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
