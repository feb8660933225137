"""Whether everything that a configuration lists is known, before anything is loaded or computed."""

from __future__ import annotations

from plateau_lens._errors import ConfigError
from plateau_lens.activations.registry import Kind, make_kinds
from plateau_lens.execution.step_values import make_statistics
from plateau_lens.experiments.registry import EXPERIMENTS
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
    for experiment in EXPERIMENTS.make(config.experiments, of="experiments").values():
        experiment.labels(config)


def _kinds(config: RunConfig) -> None:
    in_need = [label for label, kind in make_kinds(config.kinds).items() if kind.needs_sae]
    if in_need and config.sae is None:
        raise ConfigError(
            f"the kinds {', '.join(in_need)} are made of SAE latents, but the run has no sae; "
            "set sae.source, or leave them out of kinds"
        )
