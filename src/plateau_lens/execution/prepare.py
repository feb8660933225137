"""Everything a run needs before its first unit: resources loaded and checked, every ``auto`` a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int

from plateau_lens._devices import for_float64
from plateau_lens._errors import ResourceError
from plateau_lens._registry import written_out
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import make_kinds
from plateau_lens.execution.known import require_known
from plateau_lens.execution.soundness import Norms, norms_of
from plateau_lens.experiments.registry import EXPERIMENTS
from plateau_lens.models.centring import resolve_centre
from plateau_lens.models.memory import give_back
from plateau_lens.models.sites import Site
from plateau_lens.models.sources import LoadedModel, load_model
from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.prompts.sources import Prompts, load_prompts
from plateau_lens.responses.registry import RESPONSES, Response
from plateau_lens.runs.config import RunConfig
from plateau_lens.runs.plugins import digests
from plateau_lens.runs.yaml_reading import plain
from plateau_lens.saes.dictionary import load_dictionary
from plateau_lens.saes.fit import Fit, RunFacts, fit

if TYPE_CHECKING:
    from plateau_lens.saes.dictionary import Dictionary


@dataclass(frozen=True)
class Prepared:
    """Plain arrays and numbers that define a run's every unit; cheap to hand to another process."""

    config: RunConfig
    """Resolved but for what the statistics measure on the curves."""
    tokens: Int[np.ndarray, "prompt pos"]
    text: list[str]
    population: Float[np.ndarray, "prompt d_model"]
    elsewhere: Mapping[str, Float[np.ndarray, "prompt d_model"]]
    """The first of the population at each further site of an experiment, as many as any experiment there asks for."""
    frequency: Float[np.ndarray, " d_sae"] | None
    top_cosine: float
    fit: Fit | None
    """How the SAE fits; None for a run without one."""
    norms: Norms
    """Of the population."""
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Resources:
    """The model and the SAE in this process."""

    loaded: LoadedModel
    engine: SuffixEngine
    dictionary: Dictionary | None
    _elsewhere: dict[str, SuffixEngine] = field(default_factory=dict[str, SuffixEngine])

    def engine_at(self, site: str | None) -> SuffixEngine:
        """The engine that pushes at a site; None: at the run's. Each is made once, and all share the model.

        Raises:
            ConfigError: for a site that the model does not have.
        """
        if site is None:
            return self.engine
        name = str(Site.parse(site, n_blocks=len(self.engine.blocks)))
        if name not in self._elsewhere:
            self._elsewhere[name] = self.engine.at(name)
        return self._elsewhere[name]


def load_resources(config: RunConfig) -> Resources:
    """Load model, engine and SAE, and check that they fit one another.

    Raises:
        ResourceError, ConfigError: for whatever does not exist or does not fit.
    """
    require_known(config)
    loaded = load_model(
        config.model.source,
        revision=config.model.revision,
        device=config.model.device,
        dtype=config.model.dtype,
    )
    engine = SuffixEngine(
        loaded.model,
        config.site,
        config.read_site,
        centre=config.model.centre,
        matmul=config.model.matmul,
    )
    if config.sae is None:
        return Resources(loaded, engine, None)
    dictionary = load_dictionary(config.sae.source, id=config.sae.id, device=config.model.device)
    if dictionary.d_model != engine.d_model:
        raise ResourceError(
            f"the SAE {dictionary.source!r} has d_model={dictionary.d_model} but {loaded.source!r} has "
            f"d_model={engine.d_model}; choose an SAE trained on this model, or its model"
        )
    return Resources(loaded, engine, dictionary)


def prepare(config: RunConfig, resources: Resources, *, force: bool = False) -> Prepared:
    """Load prompts, run the population, check the SAE on it, and resolve every default that does not need curves.

    Args:
        config: as asked for.
        resources: of the same configuration.
        force: go on with an SAE that does not fit (see `plateau_lens.saes.fit`).

    Raises:
        ResourceError: for prompts that cannot be had, or an SAE that does not fit.
    """
    loaded, engine, dictionary = resources.loaded, resources.engine, resources.dictionary
    _require_readable(config, resources)
    prompts = load_prompts(
        loaded,
        config.prompts.source,
        n_ctx=config.prompts.n_ctx,
        at_most=config.prompts.population,
        at_least=max(2, config.pairs),
        seed=config.seed,
        split=config.prompts.split,
        column=config.prompts.column,
        revision=config.prompts.revision,
    )
    give_back()  # of sampling: the keys and values of many documents
    activations = engine.site_activations(torch.from_numpy(prompts.tokens)).to(for_float64(engine.device))
    norms = norms_of(activations, str(engine.site))
    top_cosine = float("nan")
    found: Fit | None = None
    if dictionary is not None:
        wide = activations.to(torch.float32)
        found = fit(
            dictionary.provenance["metadata"],
            _facts(config, resources, prompts),
            dictionary.explained_variance(wide),
        )
        if not force:
            found.require(dictionary.source)
        if dictionary.frequency is None:
            dictionary = dictionary.measure_frequency(wide)
        top_cosine = dictionary.mean_cosine(wide)
    population = Population(activations, config.seed)
    return Prepared(
        config=_resolve(config, resources, prompts, population, top_cosine),
        tokens=prompts.tokens,
        text=prompts.text,
        population=activations.cpu().numpy(),
        elsewhere=_elsewhere(config, resources, prompts),
        frequency=None
        if dictionary is None or dictionary.frequency is None
        else dictionary.frequency.cpu().numpy(),
        top_cosine=top_cosine,
        fit=found,
        norms=norms,
        provenance={
            "model": loaded.provenance(),
            "sae": None
            if dictionary is None
            else {
                **dictionary.provenance,
                "frequency": dictionary.frequency_source,
                "top_cosine": top_cosine,
            },
            "fit": None if found is None else found.record(forced=force),
            "prompts": prompts.provenance,
            "plugins": digests(config.plugins),
            "centred": engine.centre,
            "population": norms._asdict(),
        },
    )


def _require_readable(config: RunConfig, resources: Resources) -> None:
    """Every response of every experiment can be read behind the site where it pushes."""
    responses = RESPONSES.make(config.responses)
    for experiment in EXPERIMENTS.make(config.experiments).values():
        engine = resources.engine_at(experiment.site)
        engine.read_sites({label: each for label, each in responses.items() if experiment.reads(each)})


def _elsewhere(
    config: RunConfig, resources: Resources, prompts: Prompts
) -> dict[str, Float[np.ndarray, "prompt d_model"]]:
    """See `Prepared.elsewhere`."""
    counts: dict[str, int] = {}
    for experiment in EXPERIMENTS.make(config.experiments).values():
        if experiment.site is not None:
            site = str(resources.engine_at(experiment.site).site)
            asked = min(experiment.fitted_to or len(prompts.tokens), len(prompts.tokens))
            counts[site] = max(counts.get(site, 0), asked)
    return {
        site: resources.engine_at(site)
        .site_activations(torch.from_numpy(prompts.tokens[:count]))
        .cpu()
        .numpy()
        for site, count in counts.items()
    }


def _facts(config: RunConfig, resources: Resources, prompts: Prompts) -> RunFacts:
    loaded, engine = resources.loaded, resources.engine
    bos = getattr(loaded.tokenizer, "bos_token_id", None)
    if bos is None:
        bos = loaded.model.config.bos_token_id
    return RunFacts(
        model=config.model.source,
        is_local=Path(config.model.source).is_dir(),
        site=str(engine.site),
        n_ctx=prompts.tokens.shape[1],
        bos_share=None if bos is None else float(np.mean(prompts.tokens[:, 0] == bos)),
        centred=engine.centre,
        layer_norm=resolve_centre(loaded.model, "auto"),
    )


def _resolve(
    config: RunConfig, resources: Resources, prompts: Prompts, population: Population, top_cosine: float
) -> RunConfig:
    engine = resources.engine
    table = config.model_dump()
    if resources.loaded.revision is not None:
        table["model"]["revision"] = resources.loaded.revision
    if "revision" in prompts.provenance:
        table["prompts"]["revision"] = prompts.provenance["revision"]
    table["site"], table["read_site"] = str(engine.site), str(engine.read_site)
    table["model"]["centre"] = engine.centre
    table["prompts"]["population"] = len(prompts.tokens)
    table["kinds"] = {
        label: {"kind": config.kinds[label].get("kind", label), **made.model_dump()}
        for label, made in make_kinds(config.kinds).items()
    }
    experiments = EXPERIMENTS.make(config.experiments)
    table["experiments"] = written_out({label: each.resolve(config) for label, each in experiments.items()})
    for parameters in table["experiments"].values():
        if parameters["site"] is not None:
            parameters["site"] = str(resources.engine_at(parameters["site"]).site)
    responses = RESPONSES.make(config.responses)
    table["responses"] = written_out(
        {label: each.resolve(_read_at(each, engine)) for label, each in responses.items()}
    )
    for parameters in table["kinds"].values():
        if parameters.get("top_cosine") == "measured":
            parameters["top_cosine"] = top_cosine
    if config.step_size == "auto":
        table["step_size"] = float(f"{typical_distance(population) / 100:.6g}")
    return RunConfig.model_validate(plain(table, "the configuration as resolved"))


def _read_at(response: Response, engine: SuffixEngine) -> str:
    """The full name of where a response reads, if it reads the stream."""
    name = str(engine.read_site) if response.read_site == "auto" else response.read_site
    return str(Site.parse(name, n_blocks=len(engine.blocks)))


def typical_distance(population: Population) -> float:
    """Median L2 distance between two model-generated activations, residual-stream units."""
    everyone = np.arange(len(population))
    others = torch.from_numpy(population.others(everyone, np.ones_like(everyone)))
    apart = (
        population.activations - population.activations[others.to(population.activations.device)]
    ).double()
    found = float(np.median(torch.linalg.vector_norm(apart, dim=-1).cpu().numpy()))
    if not found > 0:
        raise ResourceError(
            "half of the prompts have the same activation as another at this site, so that no step size can be "
            "measured on them; set step_size, or choose another site or other prompts"
        )
    return found
