"""One benchmark: everything in one process, on the same weights, interleaved, as one JSON record."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plateau_lens._devices import double, for_float64, usable
from plateau_lens._errors import EngineError
from plateau_lens.bench import random_gpt2
from plateau_lens.bench.flops import suffix_flops
from plateau_lens.bench.machine import machine, versions
from plateau_lens.bench.paths import Ours, random_paths
from plateau_lens.bench.probes import Probe, best_rate, probes
from plateau_lens.bench.structured import StructuredTargets, random_activations, random_dictionary
from plateau_lens.bench.targets import judge
from plateau_lens.bench.timing import Ratio, Work, interleaved, ratio
from plateau_lens.bench.transformer_lens import TransformerLens
from plateau_lens.bench.unembeddings import unembeddings
from plateau_lens.models import memory
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.sources import load_model
from plateau_lens.models.suffix import SuffixEngine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SITE = "blocks.1.hook_resid_pre"
SHORT, MIDDLE, LONG = 10, 128, 1024
"""Tokens a prompt: ours on all three, the others on the first two."""
AGREEMENT = 1e-4
"""Largest difference, relative to the largest response, at which two ways measure the same."""
BASE_PASS_BATCH = 250


@dataclass(frozen=True)
class Sizes:
    """How much work a round is."""

    n_steps: int = 100
    pairs: int = 10
    """A batch of ours, as many as a run's work unit has; the others take one pair."""
    kinds: int = 5
    """Paths a pair that share its prefix; a run of the default preset has 20."""
    targets: int = 1000
    d_sae: int = 24_576
    active: int = 40
    """Latents of a code, on average."""
    square: int = 4096
    """Side of the large matrix product."""
    least_flops: float = 2e10
    """Operations a probe repeats its product for."""
    repeats: int = 5


QUICK = Sizes(
    n_steps=20, pairs=4, kinds=2, targets=20, d_sae=512, active=8, square=256, least_flops=1e7, repeats=2
)
"""For tests: seconds, and figures that mean nothing."""


def bench(
    source: str | None = None,
    *,
    quick: bool = False,
    repeats: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a model and return the record that ``plateau-lens bench --json`` prints.

    Args:
        source: as of `load_model`; None for GPT-2 small's shape with random weights.
        quick: a tiny model where none is named, and `QUICK` sizes.
        repeats: rounds that are timed, after one that is not.
        threads: torch's, inside this call; None leaves them.
        device: torch device.
        tell: called with what is running.

    Raises:
        EngineError: for a model the engine cannot drive, or whose curves are not those of its full pass.
    """
    sizes = QUICK if quick else Sizes()
    with _threads(threads):
        started_on = machine(usable(device))
        tell("loading")
        if source is None:
            model = random_gpt2.random_gpt2(tiny=quick, device=device)
            name = random_gpt2.TINY_GPT2 if quick else random_gpt2.GPT2_SMALL
        else:
            model, name = load_model(source, device=device).model, source
        found = _Bench(model, sizes, tell).record(repeats or sizes.repeats)
    record = {"model": name, **found, "machine": started_on, "versions": versions(), "date": _today()}
    return {"targets": judge(record), **record}


class _Bench:
    """The works of one benchmark, and what their seconds say."""

    def __init__(self, model: PreTrainedModel, sizes: Sizes, tell: Callable[[str], None]):
        self.sizes = sizes
        self.tell = tell
        memory.keep()  # as a run does
        self.engine = SuffixEngine(model, SITE)
        self.half = SuffixEngine(model, SITE, matmul="bfloat16")
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", LONG)
        self.paths = {
            n_ctx: random_paths(
                self.engine, n_ctx=n_ctx, pairs=sizes.pairs, kinds=sizes.kinds, n_steps=sizes.n_steps
            )
            for n_ctx in (SHORT, MIDDLE, LONG)
            if n_ctx <= longest
        }
        self.missing: dict[str, str] = {}
        """Why a figure could not be had, by its key."""
        self.lens: TransformerLens | None = None
        try:
            self.lens = TransformerLens(self.engine)
        except EngineError as error:
            self.missing["vs_transformer_lens"] = str(error)
        self.probes: dict[str, Probe] = {}
        try:
            rows = sizes.pairs * (sizes.n_steps + 1)
            self.probes = probes(self.engine, rows=rows, square=sizes.square, least_flops=sizes.least_flops)
        except EngineError as error:
            self.missing["fraction_of_limit"] = str(error)

    def record(self, repeats: int) -> dict[str, Any]:
        """Compare what is measured, time it, and put the figures together."""
        self.tell("comparing results")
        differences = self._differences()
        counted = self._unembeddings()
        seconds = interleaved(self._works(), rounds=repeats, device=self.engine.device, tell=self.tell)
        ours = {n_ctx: self._a_curve(seconds, f"ours/{n_ctx}", n_ctx) for n_ctx in self.paths}
        ratios: dict[str, Ratio] = {}
        for n_ctx in self._compared():
            if self.lens is not None:
                ratios[f"vs_transformer_lens.{n_ctx}"] = ratio(
                    seconds[f"transformer_lens/{n_ctx}"], ours[n_ctx]
                )
            ratios[f"vs_full_forward.{n_ctx}"] = ratio(seconds[f"full_forward/{n_ctx}"], ours[n_ctx])
        limit = self._limit(seconds)
        if limit is not None:
            best = limit["best_product"]
            products = limit["flops"]["total"] / self.probes[best].flops
            ratios["fraction_of_limit"] = ratio([products * took for took in seconds[best]], ours[SHORT])
        ratios["bf16_speedup"] = ratio(ours[SHORT], self._a_curve(seconds, "ours_bfloat16", SHORT))
        ratios["l2_only_speedup"] = ratio(ours[SHORT], self._a_curve(seconds, "ours_l2_only", SHORT))
        if LONG in self.paths:
            ratios["long_prompt_cost"] = ratio(ours[LONG], ours[SHORT])
        ratios["structured_vs_base_passes"] = ratio(seconds["structured_targets"], seconds["base_passes"])
        return {
            **_nested(ratios),
            "spread": {name: [found.lowest, found.highest] for name, found in ratios.items()},
            "missing": self.missing,
            "unembeddings": counted,
            "largest_difference": differences,
            "seconds_a_curve": {str(n_ctx): statistics.median(ours[n_ctx]) for n_ctx in ours},
            "limit": limit,
            "seconds": seconds,
            "settings": self._settings(repeats),
        }

    # -- the works ----------------------------------------------------------------------------------------

    def _works(self) -> dict[str, Work]:
        """Every work, in the order in which a round runs them: what is compared lies close together."""
        short = self.paths[SHORT]
        works: dict[str, Work] = {
            **_halves("ours_bfloat16", Ours(self.half, short)),
            **_halves(f"ours/{SHORT}", Ours(self.engine, short)),
            **self.probes,
            **_halves("ours_l2_only", Ours(self.engine, short, ("l2",))),
        }
        for n_ctx, paths in self.paths.items():
            if n_ctx != SHORT:
                works |= _halves(f"ours/{n_ctx}", Ours(self.engine, paths))
            if n_ctx in self._compared():
                if self.lens is not None:
                    works[f"transformer_lens/{n_ctx}"] = self._by_transformer_lens(n_ctx)
                works[f"full_forward/{n_ctx}"] = self._by_full_forward(n_ctx)
        device = str(for_float64(self.engine.device))
        dictionary = random_dictionary(
            self.engine.d_model, d_sae=self.sizes.d_sae, active=self.sizes.active, device=device
        )
        base = random_activations(self.sizes.targets, self.engine.d_model, device=device)
        works["structured_targets"] = StructuredTargets(dictionary, base, unit_size=self.sizes.pairs)
        works["base_passes"] = self._base_passes
        return works

    def _compared(self) -> list[int]:
        return [n_ctx for n_ctx in (SHORT, MIDDLE) if n_ctx in self.paths]

    def _by_transformer_lens(self, n_ctx: int) -> Callable[[], Mapping[Any, Tensor]]:
        lens, paths = self.lens, self.paths[n_ctx]
        assert lens is not None
        return lambda: lens.responses(paths.tokens[0], paths.points[0, 0])

    def _by_full_forward(self, n_ctx: int) -> Callable[[], Mapping[Any, Tensor]]:
        paths = self.paths[n_ctx]
        return lambda: full_responses(self.engine, paths.tokens[:1], paths.points[0, :1])

    @torch.no_grad()
    def _base_passes(self) -> None:
        """The whole model over as many short prompts as there are targets; logits of the last position alone."""
        tokens = self.paths[SHORT].tokens
        tokens = tokens.repeat(-(-self.sizes.targets // len(tokens)), 1)[: self.sizes.targets]
        for batch in tokens.split(BASE_PASS_BATCH):
            self.engine.model(
                input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False, logits_to_keep=1
            )

    # -- the figures --------------------------------------------------------------------------------------

    def _differences(self) -> dict[str, dict[str, float]]:
        """Of one pair's curve, by each other way and length; what differs too much is not compared in speed."""
        found: dict[str, dict[str, float]] = {"full_forward": {}, "transformer_lens": {}, "bfloat16": {}}
        for n_ctx in self._compared():
            ours = Ours(self.engine, self.paths[n_ctx]).first()
            full = {name: values[0] for name, values in self._by_full_forward(n_ctx)().items()}
            found["full_forward"][str(n_ctx)] = largest_difference(ours, full)
            if self.lens is not None:
                theirs = self._by_transformer_lens(n_ctx)()
                found["transformer_lens"][str(n_ctx)] = largest_difference(ours, theirs)
        if (worst := max(found["full_forward"].values())) > AGREEMENT:
            raise EngineError(
                f"curves of {type(self.engine.model).__name__} differ by {worst:.1e} from its full forward pass "
                f"(limit {AGREEMENT:g}): run plateau-lens check on it"
            )
        worst = max(found["transformer_lens"].values(), default=0.0)
        if worst > AGREEMENT:
            self.lens = None
            self.missing["vs_transformer_lens"] = (
                f"TransformerLens' curves of this model differ by {worst:.1e} (limit {AGREEMENT:g})"
            )
        exact, coarse = (Ours(e, self.paths[SHORT]).first() for e in (self.engine, self.half))
        found["bfloat16"][str(SHORT)] = largest_difference(exact, coarse)
        return found

    def _a_curve(self, seconds: Mapping[str, list[float]], name: str, n_ctx: int) -> list[float]:
        """Seconds a curve in each round, its share of the prefix included."""
        curves = self.paths[n_ctx].curves
        halves = zip(seconds[f"{name}/prefix"], seconds[f"{name}/curves"], strict=True)
        return [(prefix + rest) / curves for prefix, rest in halves]

    def _limit(self, seconds: Mapping[str, list[float]]) -> dict[str, Any] | None:
        """The least time that a short curve's products take at the best rate measured."""
        if not self.probes:
            return None
        flops = suffix_flops(self.engine, n_ctx=SHORT, n_points=self.sizes.n_steps + 1)
        best, rate = best_rate(seconds, self.probes)
        return {
            "flops": {**flops._asdict(), "total": flops.total},
            "flops_a_second": {
                name: probe.flops / statistics.median(seconds[name]) for name, probe in self.probes.items()
            },
            "best_product": best,
            "seconds": flops.total / rate,
        }

    def _unembeddings(self) -> dict[str, int]:
        """Products that give logits in one curve, with and without KL."""
        paths = self.paths[SHORT]
        return {
            "l2": unembeddings(self.engine, paths, ("l2",)),
            "l2 and kl": unembeddings(self.engine, paths, ("l2", "kl")),
        }

    def _settings(self, repeats: int) -> dict[str, Any]:
        config = self.engine.model.config.get_text_config()
        return {
            **asdict(self.sizes),
            "repeats": repeats,
            "class": type(self.engine.model).__name__,
            "parameters": sum(p.numel() for p in self.engine.model.parameters()),
            "d_model": self.engine.d_model,
            "n_blocks": len(self.engine.blocks),
            "vocab": config.vocab_size,
            "site": str(self.engine.site),
            "read_site": str(self.engine.read_site),
            "centred": self.engine.centre,
            "responses": ["l2", "kl"],
        }


def largest_difference(ours: Mapping[Any, Tensor], theirs: Mapping[Any, Tensor]) -> float:
    """The largest difference of any response at any step, relative to that response's largest value."""
    return max(
        float((double(ours[name]) - double(theirs[name])).abs().max() / double(theirs[name]).abs().max())
        for name in ours
    )


def _halves(name: str, ours: Ours) -> dict[str, Work]:
    return {f"{name}/prefix": ours.prefix, f"{name}/curves": ours.curves}


def _nested(ratios: Mapping[str, Ratio]) -> dict[str, Any]:
    """Values by key, those with a dot one level down; None for what every record has and this one could not."""
    table: dict[str, Any] = dict.fromkeys(("vs_transformer_lens", "fraction_of_limit", "long_prompt_cost"))
    for name, found in ratios.items():
        key, _, inner = name.partition(".")
        table[key] = {**(table.get(key) or {}), inner: found.value} if inner else found.value
    return table


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


@contextmanager
def _threads(wanted: int | None) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
