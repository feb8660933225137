"""The registry of experiments: from which bases, toward which targets, paths lead.

A new experiment is a class with one method::

    from plateau_lens import Experiment, Paths, experiment

    @experiment("home")
    class Home(Experiment):
        "From a base of each kind back to the prompt's own activation."
        title = "Home"

        def paths(self, drawn):
            for kind, activation in drawn.activations.items():
                yield Paths(kind, base=activation, target=drawn.block.base)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from plateau_lens._errors import ConfigError
from plateau_lens._registry import Described, Registry
from plateau_lens.glossary import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from plateau_lens.activations.registry import PairBlock
    from plateau_lens.responses.registry import Response
    from plateau_lens.runs.config import RunConfig


@dataclass(frozen=True)
class PairSet:
    """Some pairs: what a work unit is made of."""

    pair: tuple[int, ...]
    """Indices of the pairs; what their randomness is seeded by."""
    prompt: tuple[int, ...]
    """Which prompt each pair's base comes from."""
    hop: tuple[int, ...]
    """Which other prompt gives the model-generated target (see `Population.others`)."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The activations of a work unit, one a pair of each kind, that an experiment may lay paths between."""

    block: PairBlock
    """The pairs: their own activations, the population, the SAE, a generator a pair."""
    activations: Mapping[str, Float[Tensor, "pair d_model"]]
    """Label of a kind to its activations, as the site has them."""
    label: str
    """The experiment's, in this run: what the names of `Paths.kept` are told apart by."""
    codes: Mapping[str, Float[Tensor, "pair d_sae"]] = field(default_factory=dict[str, Any])
    """Label of a kind whose activations have SAE codes to these codes."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths of one kind: from bases toward targets, one a pair."""

    kind: str
    base: Float[Tensor, "pair d_model"]
    target: Float[Tensor, "pair d_model"]
    kept: Mapping[str, Float[Tensor, "pair d_model"]] = field(default_factory=dict[str, Any])
    """What of it goes into ``activations/part-*.safetensors``, by name; the pairs' own activations are there as
    ``base``."""


@dataclass(frozen=True, eq=False)
class Codes:
    """SAE codes of one kind, one a pair, to be described latent by latent in ``latents/part-*.parquet``."""

    kind: str | None
    """Label of the kind; None for the pairs' own activations."""
    code: Float[Tensor, "pair d_sae"]
    read_off: Float[Tensor, "pair d_model"] | None = None
    """The activations that the codes were read off; None for codes that are made, and then have no error."""


class Experiment(Described):
    """One experiment. Fields are its parameters; `paths` lays its paths, `codes` says which codes are described."""

    title: ClassVar[str] = ""
    """What headings call it, e.g. ``Toward``; the name with a capital unless given."""
    sentence: ClassVar[str] = ""
    """What leads where, e.g. ``from a model-generated base, toward a target of each kind``."""
    summarised: ClassVar[bool] = True
    """Whether its curves are measured and summarised in tables; False for those that are only shown."""
    varies: ClassVar[Literal["target", "base"]] = "target"
    """Which end of a path is of a kind."""
    lays_paths: ClassVar[bool] = True
    """False for one that needs no more of the model than its pairs' activations: no pass."""
    needs_sae: ClassVar[bool] = False
    usual_kinds: ClassVar[tuple[str, ...]] = ()
    """Names of the kinds that ``kinds: auto`` stands for; none of them named: all that the run has."""

    schedules: Annotated[tuple[Schedule, ...], Field(min_length=1)] | None = None
    """Instead of the run's own."""
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["auto"] = "auto"
    """Labels of kinds that the run has; auto: the experiment's usual ones, all unless it says otherwise."""
    site: str | None = None
    """Where its paths are pushed, instead of the run's site. Activations there are the model's own of the same prompts;
    kinds that need an SAE are not, and distances are in other units than ``step_size``."""
    fitted_to: Annotated[int, Field(ge=2)] | None = None
    """At a site of its own: how many of the run's population, its first, kinds are fitted to; null: all."""

    def pairs(self, config: RunConfig, first: int) -> Iterator[PairSet] | None:
        """Pairs of its own, a work unit each, their indices from ``first`` on; None: it shares the run's pairs."""
        return None

    def labels(self, config: RunConfig) -> tuple[str, ...]:
        """Labels of the kinds it needs: those asked for, or the usual ones.

        A run that has none of these has its first two instead.

        Raises:
            ConfigError: if it asks for one that the run has not.
        """
        if self.kinds == "auto":
            usual = tuple(label for name in self.usual_kinds for label in config.labels_of(name)[:1])
            return usual or tuple(config.kinds)[: 2 if self.usual_kinds else None]
        assert not isinstance(self.kinds, str)
        unknown = [kind for kind in self.kinds if kind not in config.kinds]
        if unknown:
            raise ConfigError(
                f"experiments.{self.name}.kinds names {', '.join(map(repr, unknown))} but kinds has "
                f"{', '.join(map(repr, config.kinds))}; add it there, set experiments.{self.name}.kinds=auto, or leave "
                f"{self.name!r} out of experiments"
            )
        return self.kinds

    def schedules_of(self, config: RunConfig) -> tuple[Schedule, ...]:
        """Its own schedules, or the run's."""
        return config.schedules if self.schedules is None else self.schedules

    def reads(self, response: Response) -> bool:
        """Whether its paths are measured by a response; curves have none of the others."""
        return True

    def resolve(self, config: RunConfig) -> Experiment:
        """The same with every parameter that is ``auto`` written out, but for one that stands for all of the run's."""
        return self.model_copy(update={"kinds": self.labels(config)}) if self.usual_kinds else self

    def whole(self, config: RunConfig) -> tuple[str, ...]:
        """Labels of kinds whose curves go on behind the last usable step, where no statistic looks, to be shown.

        Those of an experiment that is only shown; else none, unless it says otherwise. Other curves are NaN there.
        """
        return () if self.summarised else self.labels(config)

    def paths(self, drawn: Drawn) -> Iterator[Paths]:
        """Its paths, one set a kind."""
        raise NotImplementedError

    def codes(self, drawn: Drawn) -> Iterator[Codes]:
        """Codes to be described latent by latent, one set a kind; none, unless it says otherwise."""
        yield from ()

    @property
    def heading(self) -> str:
        """`title`, or what stands for it."""
        return self.title or self.name.capitalize()

    @property
    def meaning(self) -> str:
        """`sentence`, or the docstring's first line."""
        return self.sentence or (self.__doc__ or "").strip().split("\n")[0].rstrip(".")


C = TypeVar("C", bound=type[Experiment])
EXPERIMENTS: Registry[Experiment] = Registry("experiment", "plateau_lens.experiments")


def experiment(name: str) -> Callable[[C], C]:
    """Register an `Experiment` subclass under ``name``."""
    return EXPERIMENTS.add(name)
