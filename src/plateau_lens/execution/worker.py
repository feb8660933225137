"""The worker: one unit of the plan in, its activations and curves out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plateau_lens._devices import for_float64
from plateau_lens._errors import ConfigError
from plateau_lens.activations.anatomy import anatomies
from plateau_lens.activations.population import Population
from plateau_lens.activations.properties import CodeProperties, code_properties
from plateau_lens.activations.registry import Activations, PairBlock, make_kinds
from plateau_lens.execution.plan import Unit
from plateau_lens.execution.prepare import Prepared, Resources
from plateau_lens.experiments.registry import EXPERIMENTS, Drawn, Experiment, Paths
from plateau_lens.models import memory
from plateau_lens.models.suffix import Prefix, SuffixEngine
from plateau_lens.numerics.schedules import last_usable_step, offsets
from plateau_lens.responses.registry import RESPONSES
from plateau_lens.saes.firing import Firing

if TYPE_CHECKING:
    import polars as pl


CODE_COLUMNS = CodeProperties._fields
"""What describes a code, in `codes/part-*.parquet`."""
ACTIVATION_COLUMNS = ("norm", "distance", "read_active", "read_top_share", "read_error")
"""What describes an activation, there too: its norm, its distance to the base, and how the SAE reads it."""


@dataclass(frozen=True)
class Shard:
    """What one unit leaves on disk; None of what it does not have."""

    unit: int
    activations: dict[str, np.ndarray] | None = None
    curves: pl.DataFrame | None = None
    codes: pl.DataFrame | None = None
    latents: pl.DataFrame | None = None
    engine_seconds: float = 0.0
    """Wall time inside the engine."""


class _Curves(NamedTuple):
    """The curves of one path along one schedule: columns of ``curves/part-*.parquet``."""

    where: dict[str, str]
    """What all of them share: experiment, kind, schedule."""
    known: dict[str, np.ndarray]
    """One number a pair: pair, prompt, base_norm, distance, last_step."""
    measured: Mapping[str, Float[np.ndarray, "pair step"]]
    """Response to its curves."""
    engine_seconds: float


class At(NamedTuple):
    """A site, and how much of the population is fitted to there; see `plateau_lens.experiments`."""

    site: str | None
    fitted_to: int | None


THE_RUNS = At(None, None)
"""The run's site and population."""


class _Place(NamedTuple):
    """A unit's pairs at the site that an experiment pushes at."""

    engine: SuffixEngine
    block: PairBlock
    prefix: Prefix | None
    """None where no path is laid."""
    drawn: dict[str, Activations]
    """One activation a pair of each kind that is needed there, by label, as the site has them."""
    engine_seconds: float


class Worker:
    """Computes units. Results depend on the prepared run and the unit, not on what was computed before."""

    def __init__(self, prepared: Prepared, resources: Resources):
        memory.keep()
        self.config = prepared.config
        self.top_cosine = prepared.top_cosine
        self.resources = resources
        self.engine = resources.engine
        device = for_float64(self.engine.device)
        self.tokens = torch.from_numpy(prepared.tokens)
        self.population = Population(torch.from_numpy(prepared.population).to(device), self.config.seed)
        self.elsewhere = {
            site: torch.from_numpy(activations).to(device) for site, activations in prepared.elsewhere.items()
        }
        self.dictionary = resources.dictionary
        if self.dictionary is not None and prepared.frequency is not None:
            self.dictionary = dataclasses.replace(
                self.dictionary, frequency=torch.from_numpy(prepared.frequency).to(device)
            )
        self.firing = (
            None if self.dictionary is None else Firing(self.dictionary, self.population.activations)
        )
        self.kinds = make_kinds(self.config.kinds)
        self.experiments = EXPERIMENTS.make(self.config.experiments, of="experiments")
        self.responses = RESPONSES.make(self.config.responses, of="responses")

    def compute(self, unit: Unit) -> Shard:
        """Activations, curves and code properties of the unit's pairs, and codes latent by latent."""
        places = {at: self._place(unit, at) for at in dict.fromkeys(map(self._at, unit.experiments))}
        shard = self._along_paths(unit, places) if unit.lays_paths else Shard(unit.index)
        return dataclasses.replace(shard, latents=_latent_table(list(self._latents(unit, places))))

    def _along_paths(self, unit: Unit, places: Mapping[At, _Place]) -> Shard:
        pair, prompt, _ = unit.arrays()
        base = self.population.activations[torch.from_numpy(prompt)]
        activations: dict[str, np.ndarray] = {"pair": pair, "base": _fp32(base)}
        curves: list[_Curves] = []
        for label in unit.experiments:
            experiment = self.experiments[label]
            place = places[self._at(label)]
            if experiment.site is not None:
                activations[f"base.{label}"] = _fp32(place.block.base)
            for path in _laid(label, experiment, self._drawn(label, place)) if experiment.lays_paths else ():
                activations |= {name: _fp32(each) for name, each in path.kept.items()}
                curves += self._curves(label, path, place, prompt)
        engine_seconds = sum(place.engine_seconds for place in places.values())
        engine_seconds += sum(each.engine_seconds for each in curves)
        summarised = any(self.experiments[label].summarised for label in unit.experiments)
        main = places.get(THE_RUNS)
        properties = list(_properties(main.block, main.drawn)) if main and summarised else []
        tables = {"curves": _curve_table(curves, list(self.responses)), "codes": _code_table(properties)}
        return Shard(unit.index, activations, **tables, engine_seconds=engine_seconds)

    def _latents(self, unit: Unit, places: Mapping[At, _Place]) -> Iterator[dict[str, Any]]:
        """Rows of ``latents/part-*.parquet``."""
        pair, prompt, _ = unit.arrays()
        for label in unit.experiments:
            place = places[self._at(label)]
            for each in self.experiments[label].codes(self._drawn(label, place)):
                latents, error = place.block.latents, np.full(len(pair), np.nan)
                if each.read_off is not None:
                    error = latents.reconstruction_error(each.read_off).cpu().numpy()
                for row, found in enumerate(anatomies(each.code, latents)):
                    where = {"pair": int(pair[row]), "prompt": int(prompt[row]), "error": float(error[row])}
                    yield {"experiment": label, "kind": each.kind, **where, **found._asdict()}

    def _drawn(self, label: str, place: _Place) -> Drawn:
        """What of a place is an experiment's."""
        labels = self.experiments[label].labels(self.config)
        of_it = {kind: each for kind, each in place.drawn.items() if kind in labels}
        activations = {kind: each.activation for kind, each in of_it.items()}
        codes = {kind: each.code for kind, each in of_it.items() if each.code is not None}
        return Drawn(place.block, activations, label, codes)

    def _at(self, label: str) -> At:
        experiment = self.experiments[label]
        return At(experiment.site, experiment.fitted_to)

    def _place(self, unit: Unit, at: At) -> _Place:
        """The unit's pairs where some of its experiments push."""
        pair, prompt, hop = unit.arrays()
        engine = self.resources.engine_at(at.site)
        block = self._block(at, pair, prompt, hop)
        since = time.perf_counter()
        prefix = engine.prefix(self.tokens[torch.from_numpy(prompt)]) if unit.lays_paths else None
        engine_seconds = time.perf_counter() - since
        labels = dict.fromkeys(
            kind
            for label in unit.experiments
            if self._at(label) == at
            for kind in self.experiments[label].labels(self.config)
        )
        # Independent draws at every site: what a pair has in common there is its prompts.
        purpose = "kind" if at.site is None else f"kind at {at.site}"
        return _Place(
            engine, block, prefix, self._draw(labels, block, engine.centre, purpose), engine_seconds
        )

    def _block(self, at: At, pair: np.ndarray, prompt: np.ndarray, hop: np.ndarray) -> PairBlock:
        others = self.population.others(prompt, hop)
        if at.site is not None:
            base, other = (self._activations_at(at.site, prompts) for prompts in (prompt, others))
            return PairBlock(
                pair=pair,
                base=base,
                other=other,
                population=Population(self.elsewhere[at.site][: at.fitted_to], self.config.seed),
                dictionary=None,
                top_cosine=float("nan"),
                seed=self.config.seed,
            )
        everyone = self.population.activations
        return PairBlock(
            pair=pair,
            base=everyone[torch.from_numpy(prompt)],
            other=everyone[torch.from_numpy(others)],
            population=self.population,
            dictionary=self.dictionary,
            top_cosine=self.top_cosine,
            seed=self.config.seed,
            firing=self.firing,
        )

    def _activations_at(self, site: str, prompts: np.ndarray) -> Float[Tensor, "pair d_model"]:
        found = self.resources.engine_at(site).site_activations(self.tokens[torch.from_numpy(prompts)])
        return found.to(self.elsewhere[site])

    def _draw(
        self, labels: Iterable[str], block: PairBlock, centre: bool, purpose: str
    ) -> dict[str, Activations]:
        """One activation a pair of each of the kinds, as the site has them."""
        drawn: dict[str, Activations] = {}
        for label in labels:
            made = self.kinds[label].make(block, f"{purpose}:{label}")
            _check_drawn(label, made, block)
            drawn[label] = self.kinds[label].at_site(made, block, centre=centre)
        return drawn

    def _curves(self, label: str, path: Paths, place: _Place, prompt: np.ndarray) -> Iterator[_Curves]:
        experiment = self.experiments[label]
        assert place.prefix is not None
        responses = {name: each for name, each in self.responses.items() if experiment.reads(each)}
        apart = (path.target - path.base).double()
        length = torch.linalg.vector_norm(apart, dim=-1)
        # Where base and target coincide there is no direction: NaN, and so is every response.
        direction = (apart / length[:, None]).to(path.base.dtype)
        distance = length.cpu().numpy()
        base_norm = torch.linalg.vector_norm(path.base.double(), dim=-1).cpu().numpy()
        n_steps, step_size = self.config.n_steps, self.config.step_size
        assert isinstance(step_size, float)
        for schedule in experiment.schedules_of(self.config):
            along = torch.from_numpy(offsets(schedule, distance, n_steps=n_steps, step_size=step_size))
            along = along.to(direction)
            points = torch.addcmul(path.base[:, None], along[..., None], direction[:, None])
            since = time.perf_counter()
            found = place.engine.respond(place.prefix, points, responses)
            measured = {name: values.float().cpu().numpy() for name, values in found.items()}
            engine_seconds = time.perf_counter() - since
            last = last_usable_step(
                schedule,
                distance,
                n_steps=n_steps,
                step_size=self.config.cut_size or step_size,
                stop_at_target=self.config.stop_at_target,
            )
            where = {"experiment": label, "kind": path.kind, "schedule": schedule}
            known = {"pair": place.block.pair, "prompt": prompt, "base_norm": base_norm}
            known |= {"distance": distance, "last_step": last}
            yield _Curves(where, known, measured, engine_seconds)


def _fp32(activations: Tensor) -> np.ndarray:
    return np.ascontiguousarray(activations.float().cpu().numpy())


def _laid(label: str, experiment: Experiment, drawn: Drawn) -> Iterator[Paths]:
    """An experiment of the user's own may lay anything, or nothing."""
    found: Any = experiment.paths(drawn)
    path: Any
    end: Any
    width, number = tuple(drawn.block.base.shape), 0
    for number, path in enumerate(found if isinstance(found, Iterable) else (), start=1):  # noqa: B007
        if not isinstance(path, Paths) or type(path.kind) is not str:
            raise ConfigError(f"experiment {label!r} laid {path!r:.80}, expected Paths of a kind's label")
        for name, end in {"base": path.base, "target": path.target, **path.kept}.items():
            if not isinstance(end, Tensor) or tuple(end.shape) != width or not end.is_floating_point():
                what = f"shape {tuple(end.shape)}" if isinstance(end, Tensor) else type(end).__name__
                raise ConfigError(
                    f"experiment {label!r} laid paths whose {name} is of {what}, expected floats {width} "
                    "(pair, d_model)"
                )
        yield path
    if not number:
        raise ConfigError(f"experiment {label!r} laid no paths; its `paths` yields Paths, one set a kind")


def _check_drawn(label: str, made: Activations, block: PairBlock) -> None:
    """A kind of the user's own may return anything; say so before it becomes a number."""
    wanted: dict[str, tuple[object, int]] = {"d_model": (made.activation, block.base.shape[-1])}
    if made.code is not None:
        wanted["d_sae"] = (made.code, block.latents.d_sae)
    for axis, (found, width) in wanted.items():
        shape = (len(block.base), width)
        if not isinstance(found, Tensor) or tuple(found.shape) != shape or not found.is_floating_point():
            what = (
                f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            )
            raise ConfigError(
                f"kind {label!r} returned {what}, expected a torch tensor of floats {shape} (pair, {axis})"
            )


def _properties(block: PairBlock, drawn: dict[str, Activations]) -> Iterator[dict[str, Any]]:
    """Rows of ``codes/part-*.parquet``."""
    nan = np.full(len(block.pair), np.nan)
    for label, (activation, code) in drawn.items():
        columns = {name: nan for name in CODE_COLUMNS}
        if code is not None:
            found = code_properties(code, block.latents)
            columns = {name: values.cpu().numpy() for name, values in found._asdict().items()}
        columns["norm"] = torch.linalg.vector_norm(activation.double(), dim=-1).cpu().numpy()
        apart = (activation - block.base).double()
        columns["distance"] = torch.linalg.vector_norm(apart, dim=-1).cpu().numpy()
        columns |= dict.fromkeys(("read_active", "read_top_share", "read_error"), nan)
        if block.dictionary is not None:
            read = code_properties(block.dictionary.encode(activation), block.dictionary)
            error = block.dictionary.reconstruction_error(activation)
            found = {"read_active": read.active, "read_top_share": read.top_share, "read_error": error}
            columns |= {name: values.cpu().numpy() for name, values in found.items()}
        for row, pair in enumerate(block.pair.tolist()):
            yield {"pair": pair, "kind": label, **{name: float(v[row]) for name, v in columns.items()}}


def _code_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    numbers = (*CODE_COLUMNS, *ACTIVATION_COLUMNS)
    return pl.DataFrame(
        rows, schema={"pair": pl.Int64, "kind": pl.String, **{n: pl.Float64 for n in numbers}}
    )


def _latent_table(rows: list[dict[str, Any]]) -> pl.DataFrame | None:
    import polars as pl

    cosines = pl.List(pl.Float32)
    schema = {"experiment": pl.String, "kind": pl.String, "pair": pl.Int64, "prompt": pl.Int64}
    schema |= {"error": pl.Float64, "active": pl.Int64, "shares": cosines, "to_top": cosines}
    schema |= {"among": pl.List(pl.UInt32), "mean_among": pl.Float64}
    return pl.DataFrame(rows, schema=schema) if rows else None


def _curve_table(curves: list[_Curves], responses: list[str]) -> pl.DataFrame:
    """Rows of ``curves/part-*.parquet``; null where an experiment is not measured by a response."""
    import polars as pl

    return pl.concat(
        [
            pl.DataFrame({**each.known, **each.measured}).select(
                *(pl.lit(value).alias(name) for name, value in each.where.items()),
                *each.known,
                *(
                    pl.col(name).arr.to_list()
                    if name in each.measured
                    else pl.lit(None, dtype=pl.List(pl.Float32)).alias(name)
                    for name in responses
                ),
            )
            for each in curves
        ],
        rechunk=True,
    )
