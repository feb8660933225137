"""Whether everything that a configuration lists is known, before anything is loaded or computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from plateau_lens._errors import ConfigError
from plateau_lens.activations.registry import Kind, make_kinds
from plateau_lens.execution.step_values import make_statistics
from plateau_lens.experiments.registry import EXPERIMENTS, Experiment
from plateau_lens.responses.registry import RESPONSES
from plateau_lens.runs.config import RunConfig
from plateau_lens.runs.plugins import load_plugins


def require_known(config: RunConfig) -> dict[str, Kind]:
    """Load a run's plugins, and return its kinds.

    Raises:
        ConfigError: for a plugin that cannot be imported, an unknown kind, statistic, response or experiment, a
            parameter that one of them does not take, or one that needs another.
    """
    load_plugins(config.plugins)
    wrong: list[str] = []
    for look in (_responses, make_statistics, _experiments, _kinds):
        try:
            look(config)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return make_kinds(config.kinds)


def _responses(config: RunConfig) -> None:
    RESPONSES.make(config.responses, of="responses")


def _experiments(config: RunConfig) -> None:
    wrong: list[str] = []
    responses = RESPONSES.make(config.responses).values() if _is_known(_responses, config) else ()
    for label, experiment in EXPERIMENTS.make(config.experiments, of="experiments").items():
        if responses and not any(experiment.reads(response) for response in responses):
            wrong.append(
                f"experiments.{label} measures none of the run's responses ({', '.join(config.responses)}); add "
                f"one that it does, such as kl, or leave it out: experiments.{label}=false"
            )
        try:
            labels = experiment.labels(config)
        except ConfigError as error:
            wrong.append(str(error))
            continue
        if experiment.needs_sae and (config.sae is None or experiment.site is not None):
            wrong.append(
                f"experiments.{label} is about SAE codes at the run's site; set sae.source and leave "
                f"experiments.{label}.site out, or set experiments.{label}=false"
            )
        elif experiment.site is not None:
            wrong += _impossible_elsewhere(label, experiment, labels, config)
        elif experiment.fitted_to is not None:
            wrong.append(
                f"experiments.{label}.fitted_to is of a site of its own, which it has not; set "
                f"experiments.{label}.site, or prompts.population for the whole run"
            )
    if wrong:
        raise ConfigError("\n".join(wrong))


def _impossible_elsewhere(
    label: str, experiment: Experiment, labels: Sequence[str], config: RunConfig
) -> Iterator[str]:
    """What an experiment at a site of its own asks for that is known at the run's site alone."""
    if "absolute" in experiment.schedules_of(config):
        yield (
            f"experiments.{label} is pushed at {experiment.site}, where distances are in other units than the run's "
            f"step_size; set experiments.{label}.schedules=[relative]"
        )
    if not _is_known(_kinds, config):
        return
    kinds = make_kinds(config.kinds)
    in_need = [kind for kind in labels if kinds[kind].needs_sae]
    if in_need:
        yield (
            f"experiments.{label} is pushed at {experiment.site}, but {', '.join(in_need)} are made of the latents of "
            f"an SAE of {config.site}; name other kinds in experiments.{label}.kinds"
        )


def _is_known(look: Callable[[RunConfig], object], config: RunConfig) -> bool:
    """Whether one of the looks finds nothing wrong; what it finds it says itself."""
    try:
        look(config)
    except ConfigError:
        return False
    return True


def _kinds(config: RunConfig) -> None:
    in_need = [label for label, kind in make_kinds(config.kinds).items() if kind.needs_sae]
    if in_need and config.sae is None:
        raise ConfigError(
            f"the kinds {', '.join(in_need)} are made of SAE latents, but the run has no sae; "
            "set sae.source, or leave them out of kinds"
        )
