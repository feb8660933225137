"""The worker: one unit of the plan in, its activations and curves out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plateau_lens._devices import for_float64
from plateau_lens._errors import ConfigError
from plateau_lens.activations.population import Population
from plateau_lens.activations.properties import CodeProperties, code_properties
from plateau_lens.activations.registry import Activations, PairBlock, make_kinds
from plateau_lens.execution.plan import Unit
from plateau_lens.execution.prepare import Prepared, Resources
from plateau_lens.experiments.registry import EXPERIMENTS, Drawn, Paths
from plateau_lens.models import memory
from plateau_lens.models.centring import centred
from plateau_lens.models.suffix import Prefix
from plateau_lens.numerics.schedules import last_usable_step, offsets
from plateau_lens.responses.registry import RESPONSES
from plateau_lens.saes.firing import Firing

if TYPE_CHECKING:
    import polars as pl


CODE_COLUMNS = CodeProperties._fields
"""What describes a code, in `codes/part-*.parquet`; norm and distance to the base stand beside it."""


@dataclass(frozen=True)
class Shard:
    """What one unit leaves on disk."""

    unit: int
    activations: dict[str, np.ndarray]
    curves: pl.DataFrame
    codes: pl.DataFrame
    engine_seconds: float
    """Wall time inside the engine."""


class _Curves(NamedTuple):
    """The curves of one path along one schedule: columns of ``curves/part-*.parquet``."""

    where: dict[str, str]
    """What all of them share: experiment, kind, schedule."""
    known: dict[str, np.ndarray]
    """One number a pair: pair, prompt, distance, last_step."""
    measured: Mapping[str, Float[np.ndarray, "pair step"]]
    """Response to its curves."""
    engine_seconds: float


class Worker:
    """Computes units. Results depend on the prepared run and the unit, not on what was computed before."""

    def __init__(self, prepared: Prepared, resources: Resources):
        memory.keep()
        self.config = prepared.config
        self.top_cosine = prepared.top_cosine
        self.engine = resources.engine
        device = for_float64(self.engine.device)
        self.tokens = torch.from_numpy(prepared.tokens)
        self.population = Population(torch.from_numpy(prepared.population).to(device), self.config.seed)
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
        """Activations, curves and code properties of the unit's pairs."""
        pair, prompt, hop = unit.arrays()
        block = self._block(pair, prompt, hop)
        since = time.perf_counter()
        prefix = self.engine.prefix(self.tokens[torch.from_numpy(prompt)])
        engine_seconds = time.perf_counter() - since
        drawn = self._draw(unit, block)
        activations: dict[str, np.ndarray] = {"pair": pair, "base": _fp32(block.base)}
        curves: list[_Curves] = []
        for label in unit.experiments:
            experiment = self.experiments[label]
            labels = experiment.labels(self.config)
            of_it = {kind: each.activation for kind, each in drawn.items() if kind in labels}
            for path in experiment.paths(Drawn(block, of_it)):
                activations |= {name: _fp32(each) for name, each in path.kept.items()}
                curves += self._curves(label, path, prefix, pair, prompt)
        engine_seconds += sum(each.engine_seconds for each in curves)
        summarised = any(self.experiments[label].summarised for label in unit.experiments)
        properties = list(_properties(block, drawn)) if summarised else []
        return Shard(unit.index, activations, _curve_table(curves), _code_table(properties), engine_seconds)

    def _block(self, pair: np.ndarray, prompt: np.ndarray, hop: np.ndarray) -> PairBlock:
        everyone = self.population.activations
        others = self.population.others(prompt, hop)
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

    def _draw(self, unit: Unit, block: PairBlock) -> dict[str, Activations]:
        """One activation a pair of each kind the unit needs, as the site has them."""
        wanted = dict.fromkeys(
            kind for label in unit.experiments for kind in self.experiments[label].labels(self.config)
        )
        drawn: dict[str, Activations] = {}
        for label in wanted:
            made = self.kinds[label].make(block, f"kind:{label}")
            _check_drawn(label, made, block)
            activation = centred(made.activation.to(block.base), self.engine.centre)
            drawn[label] = made._replace(activation=activation)
        return drawn

    def _curves(
        self, experiment: str, path: Paths, prefix: Prefix, pair: np.ndarray, prompt: np.ndarray
    ) -> Iterator[_Curves]:
        apart = (path.target - path.base).double()
        length = torch.linalg.vector_norm(apart, dim=-1)
        # Where base and target coincide there is no direction: NaN, and so is every response.
        direction = (apart / length[:, None]).to(path.base.dtype)
        distance = length.cpu().numpy()
        n_steps, step_size = self.config.n_steps, self.config.step_size
        assert isinstance(step_size, float)
        for schedule in self.experiments[experiment].schedules or self.config.schedules:
            along = torch.from_numpy(offsets(schedule, distance, n_steps=n_steps, step_size=step_size))
            along = along.to(direction)
            points = torch.addcmul(path.base[:, None], along[..., None], direction[:, None])
            since = time.perf_counter()
            responses = self.engine.respond(prefix, points, self.responses)
            measured = {name: values.float().cpu().numpy() for name, values in responses.items()}
            engine_seconds = time.perf_counter() - since
            last = last_usable_step(
                schedule,
                distance,
                n_steps=n_steps,
                step_size=self.config.cut_size or step_size,
                stop_at_target=self.config.stop_at_target,
            )
            where = {"experiment": experiment, "kind": path.kind, "schedule": schedule}
            known = {"pair": pair, "prompt": prompt, "distance": distance, "last_step": last}
            yield _Curves(where, known, measured, engine_seconds)


def _fp32(activations: Tensor) -> np.ndarray:
    return np.ascontiguousarray(activations.float().cpu().numpy())


def _check_drawn(label: str, made: Activations, block: PairBlock) -> None:
    """A kind of the user's own may return anything; say so before it becomes a number."""
    wanted: dict[str, tuple[object, int]] = {"d_model": (made.activation, block.base.shape[-1])}
    if made.code is not None:
        wanted["d_sae"] = (made.code, block.latents.d_sae)
    for axis, (found, width) in wanted.items():
        shape = (len(block.base), width)
        if not isinstance(found, Tensor) or tuple(found.shape) != shape:
            what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"kind {label!r} returned {what}, expected a torch tensor {shape} (pair, {axis})"
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
        for row, pair in enumerate(block.pair.tolist()):
            yield {"pair": pair, "kind": label, **{name: float(v[row]) for name, v in columns.items()}}


def _code_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    numbers = (*CODE_COLUMNS, "norm", "distance")
    return pl.DataFrame(
        rows, schema={"pair": pl.Int64, "kind": pl.String, **{n: pl.Float64 for n in numbers}}
    )


def _curve_table(curves: list[_Curves]) -> pl.DataFrame:
    """Rows of ``curves/part-*.parquet``."""
    import polars as pl

    return pl.concat(
        [
            pl.DataFrame({**each.known, **each.measured}).select(
                *(pl.lit(value).alias(name) for name, value in each.where.items()),
                *each.known,
                *(pl.col(name).arr.to_list() for name in each.measured),
            )
            for each in curves
        ],
        rechunk=True,
    )
