"""plateau-lens: how a model's output responds as one residual-stream activation is pushed toward another.

The command line is ``plateau-lens``; the same parts from Python::

    from plateau_lens import load_config, run

    folder = run(load_config("smollm2-135m", {"pairs": 20}), out="runs/first")
    folder.steps()  # a polars table: experiment, kind, schedule, pair, response, statistic, value, censored

Importing this package does nothing; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plateau_lens._errors import ConfigError, EngineError, PlateauLensError, ResourceError, RunFolderError
    from plateau_lens.activations.registry import Kind, PairBlock, kind
    from plateau_lens.execution.prepare import Resources, load_resources
    from plateau_lens.experiments.registry import Drawn, Experiment, Paths, experiment
    from plateau_lens.models.check import check
    from plateau_lens.models.sites import Site
    from plateau_lens.models.sources import LoadedModel, load_model
    from plateau_lens.models.suffix import SuffixEngine
    from plateau_lens.report.render import Table
    from plateau_lens.report.sections.registry import Section, section
    from plateau_lens.responses.registry import Response, response
    from plateau_lens.runs.config import RunConfig, load_config
    from plateau_lens.runs.folder import RunFolder
    from plateau_lens.saes.dictionary import Dictionary, load_dictionary
    from plateau_lens.steps.registry import Curves, Statistic, StepValues, statistic
    from plateau_lens.whole_run import run

__version__ = "0.1.0"

_HOME = {
    "ConfigError": "_errors",
    "EngineError": "_errors",
    "PlateauLensError": "_errors",
    "ResourceError": "_errors",
    "RunFolderError": "_errors",
    "Kind": "activations.registry",
    "PairBlock": "activations.registry",
    "kind": "activations.registry",
    "RunConfig": "runs.config",
    "load_config": "runs.config",
    "run": "whole_run",
    "RunFolder": "runs.folder",
    "check": "models.check",
    "Drawn": "experiments.registry",
    "Experiment": "experiments.registry",
    "Paths": "experiments.registry",
    "experiment": "experiments.registry",
    "Curves": "steps.registry",
    "Statistic": "steps.registry",
    "StepValues": "steps.registry",
    "statistic": "steps.registry",
    "Response": "responses.registry",
    "response": "responses.registry",
    "Section": "report.sections.registry",
    "section": "report.sections.registry",
    "Table": "report.render",
    "load_resources": "execution.prepare",
    "Resources": "execution.prepare",
    "Site": "models.sites",
    "LoadedModel": "models.sources",
    "load_model": "models.sources",
    "SuffixEngine": "models.suffix",
    "Dictionary": "saes.dictionary",
    "load_dictionary": "saes.dictionary",
}

__all__ = [
    "ConfigError",
    "Curves",
    "Dictionary",
    "Drawn",
    "EngineError",
    "Experiment",
    "Kind",
    "LoadedModel",
    "PairBlock",
    "Paths",
    "PlateauLensError",
    "ResourceError",
    "Resources",
    "Response",
    "RunConfig",
    "RunFolder",
    "RunFolderError",
    "Section",
    "Site",
    "Statistic",
    "StepValues",
    "SuffixEngine",
    "Table",
    "__version__",
    "check",
    "experiment",
    "kind",
    "load_config",
    "load_dictionary",
    "load_model",
    "load_resources",
    "response",
    "run",
    "section",
    "statistic",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
