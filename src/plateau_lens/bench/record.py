"""One benchmark: everything in one process, on the same weights, interleaved, as one JSON record."""

from __future__ import annotations

import datetime
import math
import statistics
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plateau_lens._devices import double, for_float64, usable
from plateau_lens._errors import ConfigError, EngineError, nearest
from plateau_lens.bench import random_gpt2
from plateau_lens.bench.flops import suffix_flops
from plateau_lens.bench.machine import machine, versions
from plateau_lens.bench.paths import Ours, Paths, random_paths
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
FIGURES = (
    "fraction_of_limit",
    "vs_transformer_lens",
    "vs_full_forward",
    "l2_only_speedup",
    "bf16_speedup",
    "structured_vs_base_passes",
    "long_prompt_cost",
)
"""Ratios of times; those that a first look is for come first."""
SECONDS = 300.0
"""A benchmark takes no longer by default, but for the one work that it is at then."""

Seconds = Mapping[str, Sequence[float]]
"""Of each work in each round."""


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
    only: Collection[str] = (),
    repeats: int | None = None,
    seconds: float = SECONDS,
    threads: int | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda _: None,
    found: Callable[[str, Ratio], None] = lambda *_: None,
) -> dict[str, Any]:
    """Measure a model and return the record that ``plateau-lens bench --json`` prints.

    Args:
        source: as of `load_model`; None for GPT-2 small's shape with random weights.
        quick: a tiny model where none is named, and `QUICK` sizes.
        only: which of `FIGURES`; none named: all of them.
        repeats: rounds that are timed, after one that is not.
        seconds: after which nothing more is begun; what was not reached is null, with the reason in ``missing``.
        threads: torch's, inside this call; None leaves them.
        device: torch device.
        tell: called with what is running.
        found: called with every figure, and again whenever another round has been added to it.

    Raises:
        ConfigError: for a figure that there is not.
        EngineError: for a model the engine cannot drive, or whose curves are not those of its full pass.
    """
    for name in only:
        if name not in FIGURES:
            raise ConfigError(f"figure {name!r} is not one of {', '.join(FIGURES)}{nearest(name, FIGURES)}")
    until = time.perf_counter() + seconds
    sizes = QUICK if quick else Sizes()
    with _threads(threads):
        started_on = machine(usable(device))
        tell("loading")
        if source is None:
            model = random_gpt2.random_gpt2(tiny=quick, device=device)
            name = random_gpt2.TINY_GPT2 if quick else random_gpt2.GPT2_SMALL
        else:
            model, name = load_model(source, device=device).model, source
        measured = _Bench(model, sizes, only or FIGURES, tell, found).record(repeats or sizes.repeats, until)
    record = {"model": name, **measured, "machine": started_on, "versions": versions(), "date": _today()}
    return {"targets": judge(record), **record}


@dataclass(frozen=True)
class _Figure:
    """One ratio of a benchmark."""

    works: tuple[str, ...]
    """Names of those it is made of."""
    of: Callable[[Seconds], Ratio]
    """From the seconds of these."""


class _Bench:
    """The works of one benchmark, and what their seconds say."""

    def __init__(
        self,
        model: PreTrainedModel,
        sizes: Sizes,
        only: Collection[str],
        tell: Callable[[str], None],
        found: Callable[[str, Ratio], None],
    ):
        self.sizes = sizes
        self.only = only
        self.tell, self.found = tell, found
        memory.keep()  # as a run does
        self.engine = SuffixEngine(model, SITE)
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", LONG)
        self.lengths = [n_ctx for n_ctx in (SHORT, MIDDLE, LONG) if n_ctx <= longest]
        self.missing: dict[str, str] = dict.fromkeys(
            (name for name in FIGURES if name not in only), "left out by --only"
        )
        """Why a figure could not be had, by its key."""
        self.differences: dict[str, dict[str, float]] = {
            "full_forward": {},
            "transformer_lens": {},
            "bfloat16": {},
        }
        self._made: dict[str, Ours] = {}
        self._laid: dict[int, Paths] = {}
        self.curves: dict[str, Mapping[Any, Tensor]] = {}
        """What the last turn of a work measured, by the work's name."""
        self.lens: TransformerLens | None = None
        if "vs_transformer_lens" in only:
            self.tell("TransformerLens converts the model")
            try:
                self.lens = TransformerLens(self.engine)
            except EngineError as error:
                self.missing["vs_transformer_lens"] = str(error)
        self.probes: dict[str, Probe] = {}
        if "fraction_of_limit" in only:
            rows = sizes.pairs * (sizes.n_steps + 1)
            try:
                self.probes = probes(
                    self.engine, rows=rows, square=sizes.square, least_flops=sizes.least_flops
                )
            except EngineError as error:
                self.missing["fraction_of_limit"] = str(error)

    def record(self, repeats: int, until: float = math.inf) -> dict[str, Any]:
        """Time what is asked for, compare what it measures, and put the figures together."""
        figures = self._figures()
        wanted = dict.fromkeys(name for figure in figures.values() for name in figure.works)
        works = {name: self._work(name) for name in wanted}

        def done(name: str, seconds: Seconds) -> None:
            self._compare(name)
            for key, figure in figures.items():
                if name == figure.works[-1] and all(seconds[each] for each in figure.works):
                    self.found(key, figure.of(seconds))

        seconds = interleaved(
            works, rounds=repeats, device=self.engine.device, tell=self.tell, done=done, until=until
        )
        ratios: dict[str, Ratio] = {}
        for key, figure in figures.items():
            if key.partition(".")[0] in self.missing:
                continue
            if all(seconds[each] for each in figure.works):
                ratios[key] = figure.of(seconds)
            else:
                self.missing[key] = (
                    "not reached in the time that there was; give it more, or ask for it alone"
                )
        timed = [n_ctx for n_ctx in self.lengths if seconds.get(f"ours/{n_ctx}/curves")]
        return {
            **_nested(ratios),
            "spread": {name: [found.lowest, found.highest] for name, found in ratios.items()},
            "missing": self.missing,
            "unembeddings": self._unembeddings(),
            "largest_difference": self.differences,
            "seconds_a_curve": {
                str(n_ctx): statistics.median(self._a_curve(seconds, f"ours/{n_ctx}", n_ctx))
                for n_ctx in timed
            },
            "limit": self._limit(seconds) if "fraction_of_limit" in ratios else None,
            "seconds": seconds,
            "settings": self._settings(repeats),
        }

    def _figures(self) -> dict[str, _Figure]:
        """What each is made of, in the order in which their works run; what is compared lies close together."""
        short, curve = f"ours/{SHORT}", self._a_curve
        found: dict[str, _Figure] = {}
        if self.probes:
            found["fraction_of_limit"] = _Figure((*_halves(short), *self.probes), self._fraction)
        others = {"vs_full_forward": "full_forward"}
        if self.lens is not None:
            others["vs_transformer_lens"] = "transformer_lens"
        for n_ctx in (SHORT, MIDDLE):
            for key, other in others.items() if n_ctx in self.lengths else ():
                ours, theirs = f"ours/{n_ctx}", f"{other}/{n_ctx}"
                found[f"{key}.{n_ctx}"] = _Figure(
                    (*_halves(ours), theirs),
                    lambda s, ours=ours, theirs=theirs, n_ctx=n_ctx: ratio(s[theirs], curve(s, ours, n_ctx)),
                )
        for key, other in (("l2_only_speedup", "ours_l2_only"), ("bf16_speedup", "ours_bfloat16")):
            found[key] = _Figure(
                (*_halves(short), *_halves(other)),
                lambda s, other=other: ratio(curve(s, short, SHORT), curve(s, other, SHORT)),
            )
        found["structured_vs_base_passes"] = _Figure(
            ("structured_targets", "base_passes"), lambda s: ratio(s["structured_targets"], s["base_passes"])
        )
        if LONG in self.lengths:
            found["long_prompt_cost"] = _Figure(
                (*_halves(short), *_halves(f"ours/{LONG}")),
                lambda s: ratio(curve(s, f"ours/{LONG}", LONG), curve(s, short, SHORT)),
            )
        found = {key: figure for key, figure in found.items() if key.partition(".")[0] in self.only}
        # What is quick comes before long prompts.
        keys = sorted(
            found, key=lambda key: (key.endswith(f".{MIDDLE}"), FIGURES.index(key.partition(".")[0]))
        )
        return {key: found[key] for key in keys}

    # -- the works ----------------------------------------------------------------------------------------

    def _work(self, name: str) -> Work:
        """A work by its name."""
        if name in self.probes:
            return self.probes[name]
        if name == "structured_targets":
            return self._structured_targets()
        if name == "base_passes":
            return self._base_passes
        way, _, rest = name.partition("/")
        if way in ("full_forward", "transformer_lens"):
            return lambda: self.curves.update({name: self._by_other(way, int(rest))})
        ours = self._ours(name.rpartition("/")[0])
        return ours.prefix if name.endswith("/prefix") else ours.curves

    def _ours(self, way: str) -> Ours:
        """One for both halves of a work."""
        if way not in self._made:
            self._made[way] = self._new(way)
        return self._made[way]

    def _new(self, way: str) -> Ours:
        if way == "ours_l2_only":
            return Ours(self.engine, self._paths(SHORT), ("l2",))
        if way == "ours_bfloat16":
            return Ours(SuffixEngine(self.engine.model, SITE, matmul="bfloat16"), self._paths(SHORT))
        return Ours(self.engine, self._paths(int(way.partition("/")[2])))

    def _paths(self, n_ctx: int) -> Paths:
        sizes = self.sizes
        if n_ctx not in self._laid:
            self._laid[n_ctx] = random_paths(
                self.engine, n_ctx=n_ctx, pairs=sizes.pairs, kinds=sizes.kinds, n_steps=sizes.n_steps
            )
        return self._laid[n_ctx]

    def _by_other(self, way: str, n_ctx: int) -> Mapping[Any, Tensor]:
        """The first pair's first curve, another way."""
        paths = self._paths(n_ctx)
        if way == "full_forward":
            return full_responses(self.engine, paths.tokens[:1], paths.points[0, :1])
        assert self.lens is not None
        return self.lens.responses(paths.tokens[0], paths.points[0, 0])

    def _structured_targets(self) -> StructuredTargets:
        device = str(for_float64(self.engine.device))
        dictionary = random_dictionary(
            self.engine.d_model, d_sae=self.sizes.d_sae, active=self.sizes.active, device=device
        )
        base = random_activations(self.sizes.targets, self.engine.d_model, device=device)
        return StructuredTargets(dictionary, base, unit_size=self.sizes.pairs)

    @torch.no_grad()
    def _base_passes(self) -> None:
        """The whole model over as many short prompts as there are targets; logits of the last position alone."""
        tokens = self._paths(SHORT).tokens
        tokens = tokens.repeat(-(-self.sizes.targets // len(tokens)), 1)[: self.sizes.targets]
        for batch in tokens.split(BASE_PASS_BATCH):
            self.engine.model(
                input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False, logits_to_keep=1
            )

    # -- the figures --------------------------------------------------------------------------------------

    def _compare(self, name: str) -> None:
        """Behind the first turn of another way: what measures something else is not compared in speed."""
        way, _, n_ctx = name.partition("/")
        if name == "ours_bfloat16/curves" and not self.differences["bfloat16"]:
            exact, coarse = (self._ours(each).first() for each in (f"ours/{SHORT}", "ours_bfloat16"))
            self.differences["bfloat16"][str(SHORT)] = largest_difference(exact, coarse)
        if way not in ("full_forward", "transformer_lens") or n_ctx in self.differences[way]:
            return
        theirs = self.curves[name]
        if way == "full_forward":
            theirs = {response: values[0] for response, values in theirs.items()}
        difference = largest_difference(self._ours(f"ours/{n_ctx}").first(), theirs)
        self.differences[way][n_ctx] = difference
        if difference <= AGREEMENT:
            return
        if way == "full_forward":
            raise EngineError(
                f"curves of {type(self.engine.model).__name__} differ by {difference:.1e} from its full forward pass "
                f"(limit {AGREEMENT:g}): run plateau-lens check on it"
            )
        self.missing["vs_transformer_lens"] = (
            f"TransformerLens' curves of this model differ by {difference:.1e} (limit {AGREEMENT:g})"
        )

    def _a_curve(self, seconds: Seconds, name: str, n_ctx: int) -> list[float]:
        """Seconds a curve in each round, its share of the prefix included."""
        curves = self._paths(n_ctx).curves
        # The time may have been up between the two.
        halves = zip(seconds[f"{name}/prefix"], seconds[f"{name}/curves"], strict=False)
        return [(prefix + rest) / curves for prefix, rest in halves]

    def _fraction(self, seconds: Seconds) -> Ratio:
        """The least time of a short curve's products beside the time that it takes."""
        limit = self._limit(seconds)
        best = limit["best_product"]
        products = limit["flops"]["total"] / self.probes[best].flops
        least = [products * took for took in seconds[best]]
        return ratio(least, self._a_curve(seconds, f"ours/{SHORT}", SHORT))

    def _limit(self, seconds: Seconds) -> dict[str, Any]:
        """The least time that a short curve's products take at the best rate measured."""
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
        paths = self._paths(SHORT)
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


def _halves(name: str) -> tuple[str, str]:
    """The two works of one of ours."""
    return f"{name}/prefix", f"{name}/curves"


def _nested(ratios: Mapping[str, Ratio]) -> dict[str, Any]:
    """Values by key, those with a dot one level down; None for what every record has and this one could not."""
    table: dict[str, Any] = dict.fromkeys(FIGURES)
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
