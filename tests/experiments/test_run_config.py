from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plateau_lens import ConfigError, RunConfig, load_config, presets
from plateau_lens.activations.registry import make_kinds
from plateau_lens.execution.known import require_known
from plateau_lens.experiments.examples import Examples
from plateau_lens.experiments.registry import EXPERIMENTS
from plateau_lens.runs.config import dump, parse_assignment
from plateau_lens.steps.registry import STATISTICS, Automatic

SMALL = {"model": {"source": "gpt2"}, "kinds": ["model-generated", "random"]}


def refusal(table: Any, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        require_known(load_config(table, overrides))
    return str(caught.value)


def with_(**changes: Any) -> dict[str, Any]:
    return {**SMALL, **changes}


@pytest.mark.parametrize("name", presets.names())
def test_presets_load_and_say_what_they_are(name: str):
    config = load_config(name)
    assert config.name == name
    assert presets.describe(name)
    assert RunConfig.model_validate(yaml.safe_load(dump(config))) == config


def test_the_papers_own_settings():
    config = load_config("gpt2-paper")
    assert config.model.source == "gpt2"
    assert (config.site, config.read_site) == ("blocks.1.hook_resid_pre", "blocks.11.hook_resid_post")
    assert (config.n_steps, config.step_size, config.stop_at_target) == (100, 0.5, True)
    assert config.statistics["ap"] == {"threshold": 20.0}
    assert config.statistics["ms"]["min_slope"]["l2"] == 0.02
    assert (config.sae.source, config.sae.id) == ("gpt2-small-res-jb", "blocks.1.hook_resid_pre")
    assert config.prompts.n_ctx == 10


@pytest.mark.parametrize(
    ("ladder", "main"), [("ladder-smollm2", "smollm2-135m"), ("ladder-gpt2", "gpt2-paper")]
)
def test_the_ladder_has_the_main_presets_pairs_and_kinds(ladder: str, main: str):
    rungs, whole = load_config(ladder), load_config(main)
    same = (
        "model",
        "site",
        "read_site",
        "prompts",
        "sae",
        "pairs",
        "seed",
        "n_steps",
        "step_size",
    )
    for name in same:
        assert getattr(rungs, name) == getattr(whole, name), name
    shared = [label for label in whole.kinds if label in rungs.kinds]
    assert len(shared) == 6
    assert {label: rungs.kinds[label] for label in shared} == {label: whole.kinds[label] for label in shared}
    made = make_kinds(rungs.kinds)
    assert len(made) == 24
    assert next(iter(made)) == "model-generated"
    # Each main rung has a twin that differs from it in nothing but the norm.
    twins = {"model-generated": "model-generated", "sae-reconstruction": "reconstruction", "random": "random"}
    twins |= {"synthetic-structured": "structured", "synthetic-baseline": "baseline"}
    for label, twin in twins.items():
        given = made[label].model_copy(update={"norm": "other" if label == "sae-reconstruction" else "base"})
        assert made[f"{twin}-at-norm"] == given


def test_schedules_of_one_experiment():
    config = load_config(with_(experiments={"toward": {"schedules": ["relative"]}, "from": {}}))
    assert config.schedules == ("absolute", "relative")
    (toward, other) = EXPERIMENTS.make(config.experiments).values()
    assert (toward.schedules, other.schedules) == (("relative",), None)
    for wrong, message in (
        ({"towards": {"schedules": ["relative"]}}, "did you mean 'toward'"),
        ({"toward": {"schedules": ["relativ"]}}, "'absolute' or 'relative'"),
        ({"toward": {"schedules": []}}, "at least 1 item"),
    ):
        assert message in refusal(with_(experiments=wrong))


def test_unknown_keys_name_the_nearest_legal_one_all_at_once():
    message = refusal(
        with_(
            paris=3,
            model={"source": "gpt2", "dtyp": "float32"},
            prompts={"nctx": 3},
            report={"margin": 3},
            sae={"source": "bundled", "idd": "x"},
        )
    )
    for key, wanted in {
        "paris": "pairs",
        "model.dtyp": "dtype",
        "prompts.nctx": "n_ctx",
        "report.margin": "equivalence_margin",
        "sae.idd": "id",
    }.items():
        assert f"unknown key {key!r}; did you mean {wanted!r}?" in message


def test_what_is_listed_is_known_before_anything_is_loaded_all_at_once():
    message = refusal(
        with_(
            responses=["l2", "kll"],
            statistics={"ap": {"treshold": 3}, "nonlinear": {}},
            experiments={"examples": {"base": 2, "kinds": ["random"]}},
            kinds=["random", "randm"],
        )
    )
    for wanted in (
        "unknown response 'kll'; did you mean 'kl'? (legal: js, kl, l2)",
        "statistics.ap.treshold: Extra inputs are not permitted; did you mean 'threshold'? (parameters: threshold, ",
        "unknown statistic 'nonlinear'",
        "experiments.examples.base: Extra inputs are not permitted; did you mean 'bases'? (parameters: schedules, ",
        "unknown kind 'randm'; did you mean 'random'?",
    ):
        assert wanted in message


def test_keys_that_have_moved_are_still_read(tmp_path: Path):
    old = with_(
        statistics={"ap_threshold": 30.0, "min_slope": {"l2": 0.5}, "ms": "notebook", "cut_size": 0.4},
        schedules_of={"toward": ["relative"]},
        examples={"bases": 2},
    )
    new = with_(
        statistics={"ap": {"threshold": 30.0}, "ms": {"min_slope": {"l2": 0.5}, "convention": "notebook"}},
        experiments={"toward": {"schedules": ["relative"]}, "from": {}, "examples": {"bases": 2}},
        cut_size=0.4,
    )
    assert load_config(old) == load_config(new)
    path = tmp_path / "old.yaml"
    path.write_text("preset: gpt2-paper\nstatistics: {ap_threshold: 30, equivalence_margin: 1.5}\n")
    config = load_config(path, {"statistics.min_slope.kl": 0.1, "examples.targets": 4})
    assert config.statistics["ap"] == {"threshold": 30}
    assert config.statistics["ms"] == {"min_slope": {"l2": 0.02, "kl": 0.1}}
    assert config.report.equivalence_margin == 1.5
    assert config.experiments["examples"] == {"targets": 4}
    assert "experiments has no 'towards'; did you mean 'toward'" in refusal(
        with_(schedules_of={"towards": []})
    )
    # One that the run has not is left alone, as it was.
    assert load_config(with_(experiments=["toward"], examples={"bases": 2})).experiments == {"toward": {}}


def test_statistics_are_added_to_changed_and_left_out():
    names = ["ms", "ap", "auc", "nl", "nl-value"]
    assert list(load_config(SMALL).statistics) == names
    assert list(load_config(with_(statistics={"late": {"statistic": "ap"}})).statistics) == [*names, "late"]
    assert list(load_config(SMALL, {"statistics.nl": False}).statistics) == ["ms", "ap", "auc", "nl-value"]
    assert list(load_config(with_(statistics=["ms"])).statistics) == ["ms"]
    # Experiments, responses and kinds cost time: a table of them is a choice as a whole.
    assert list(load_config(with_(experiments={"from": None})).experiments) == ["from"]
    assert list(load_config(SMALL, {"responses.js": {}}).responses) == ["l2", "kl", "js"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": 0}, "pairs: .*greater than or equal to 1; found 0"),
        ({"pairs": "many"}, "pairs: .*found 'many'"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"n_steps": 9}, "n_steps: .*greater than or equal to 10"),
        ({"step_size": 0.0}, "step_size"),
        ({"step_size": -1.0}, "step_size"),
        ({"step_size": float("nan")}, "step_size"),
        ({"unit_size": 0}, "unit_size"),
        ({"prompts": {"n_ctx": 1}}, r"prompts\.n_ctx: .*greater than or equal to 2"),
        (
            {"responses": ["kl"]},
            r"statistics\.ap is of the response 'l2', which the run has not.*statistics\.ap=false",
        ),
        ({"responses": ["l2", "kll"]}, r"unknown response 'kll'; did you mean"),
        ({"statistics": {"ap": {"threshold": float("nan")}}}, r"statistics\.ap\.threshold"),
        ({"statistics": {"ap": {"threshold": -3}}}, r"statistics\.ap\.threshold"),
        ({"statistics": {"ms": {"min_slope": {"l2": float("nan")}}}}, r"statistics\.ms\.min_slope"),
        ({"schedules": ["absolut"]}, "'absolut' is not one of absolute or relative; did you mean 'absolute'"),
        ({"experiments": ["towards"]}, "did you mean 'toward'"),
        ({"model": {"source": "gpt2", "dtype": "float16"}}, r"model\.dtype: 'float16' is not one of float32"),
        ({"kinds": {}}, "kinds must name at least one activation kind"),
        ({"pairs": 50, "prompts": {"population": 20}, "experiments": ["toward"]}, None),
        (
            {"examples": {"kinds": ["synthetic-baseline"]}},
            r"experiments\.examples\.kinds names 'synthetic-baseline' but kinds",
        ),
        ({"model": {}}, r"model\.source: missing"),
    ],
)
def test_values_that_no_run_can_use(changes: dict[str, Any], message: str | None):
    if message is None:
        # More pairs than the population asked for means a larger population.
        assert load_config(with_(**changes)).prompts.population == 50
        return
    with pytest.raises(ConfigError, match=message):
        require_known(load_config(with_(**changes)))


@pytest.mark.parametrize("key", ["experiments", "schedules"])
@pytest.mark.parametrize("value", [[], "twice"])
def test_lists_that_are_empty_or_name_a_thing_twice(key: str, value: Any):
    table = with_(
        **{key: ["toward"] * 2 if key == "experiments" else ["absolute"] * 2} if value else {key: []}
    )
    with pytest.raises(ConfigError, match=key):
        load_config(table)


def test_a_population_too_small_on_purpose_is_refused():
    message = refusal(SMALL, {"pairs": 50, "prompts.population": 20})
    assert "pairs=50 but prompts.population=20" in message
    assert "pass prompts.population=50 or more, or fewer pairs" in message


def test_overrides():
    config = load_config(
        "smollm2-135m",
        {
            "pairs": 7,
            "prompts.n_ctx": 33,
            "model.dtype": "bfloat16",
            "kinds.synthetic-structured.top_cosine": 0.42,
            "statistics.ap_threshold": 5,
        },
    )
    assert (config.pairs, config.prompts.n_ctx, config.model.dtype) == (7, 33, "bfloat16")
    assert config.kinds["synthetic-structured"] == {"top_cosine": 0.42}
    assert set(config.kinds) == set(load_config("smollm2-135m").kinds)
    assert config.prompts.population == load_config("smollm2-135m").prompts.population
    assert load_config("smollm2-135m", {"pairs": 50_000}).prompts.population == 50_000


def test_an_override_of_one_threshold_leaves_the_others():
    run = Automatic(lambda _: 300.0, {"l2": "auto", "kl": 1e-3}, {})
    for config in (
        load_config(SMALL, {"statistics.ms.min_slope.l2": 0.5}),
        load_config(with_(statistics={"ms": {"min_slope": {"l2": 0.5}}})),
    ):
        (ms, *_) = STATISTICS.make(config.statistics).values()
        assert ms.resolve(run).min_slope == {"l2": 0.5, "kl": 1e-3}


def test_overrides_do_not_change_what_they_were_given():
    table = {**SMALL, "kinds": {"random": {}, "model-generated": {}}, "prompts": {"n_ctx": 5}}
    load_config(table, {"prompts.n_ctx": 6})
    assert table["prompts"] == {"n_ctx": 5}


def test_an_override_inside_a_value():
    assert "asks for a key inside 'pairs', which is 3" in refusal(with_(pairs=3), {"pairs.more": 1})


def test_a_file_starts_from_a_preset(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "preset: gpt2-paper\nname: mine\npairs: 5\nprompts: {n_ctx: 20}\nkinds: [random, model-generated]\n"
    )
    config, base = load_config(path), load_config("gpt2-paper")
    assert (config.name, config.pairs, config.prompts.n_ctx) == ("mine", 5, 20)
    assert config.prompts.population == base.prompts.population
    assert config.sae == base.sae
    assert config.statistics == base.statistics
    assert config.kinds == {"random": {}, "model-generated": {}}, "kinds are a choice as a whole"
    other = tmp_path / "other.yaml"
    other.write_text(f"preset: {path}\npairs: 6\n")
    # A file without a name is called after itself: it is another run, and goes into another folder.
    assert load_config(other).name == "other"
    assert load_config(other).model_copy(update={"pairs": 5, "name": "mine"}) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "holds list; a configuration is a mapping"),
        ("", "holds NoneType"),
        ("a: [1,", "is not readable as YAML"),
        ("preset: gpt2-papr\n", "did you mean 'gpt2-paper'"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_file_that_is_preset_to_itself_is_told_so(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"preset: {path}\npairs: 3\n")
    with pytest.raises(ConfigError, match="preset"):
        load_config(path)


def test_neither_preset_nor_file():
    assert "'smolm2-135m' is neither a preset nor a file" in refusal("smolm2-135m")
    assert "did you mean 'smollm2-135m'?" in refusal("smolm2-135m")


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        ("random", {"random": {}}),
        (["random", "model-generated"], {"random": {}, "model-generated": {}}),
        ({"random": None, "far": {"kind": "random"}}, {"random": {}, "far": {"kind": "random"}}),
    ],
)
def test_ways_to_name_kinds(kinds: Any, wanted: dict[str, Any]):
    assert load_config(with_(kinds=kinds, experiments=["toward"])).kinds == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("pairs=20", ("pairs", 20)),
        ("kinds=[random, model-generated]", ("kinds", ["random", "model-generated"])),
        ("model.source=wheel:a==1", ("model.source", "wheel:a==1")),
        ("read_site=", ("read_site", None)),
        (" stop_at_target = false", ("stop_at_target", False)),
    ],
)
def test_assignments(text: str, wanted: tuple[str, Any]):
    assert parse_assignment(text) == wanted


@pytest.mark.parametrize("text", ["pairs", "=3", "", " =x"])
def test_what_is_no_assignment(text: str):
    with pytest.raises(ConfigError, match="--set takes key=value"):
        parse_assignment(text)


def test_an_assignment_that_is_not_yaml():
    with pytest.raises(ConfigError, match="--set kinds is not readable as YAML"):
        parse_assignment("kinds=[a,")


def test_configurations_are_frozen():
    config = load_config(SMALL)
    with pytest.raises(Exception, match="frozen"):
        config.pairs = 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"prompts": "sampled"}, "prompts: 'sampled' is not a mapping"),
        ({"convention": "notebook", "n_steps": "many"}, "n_steps: .*; found 'many'"),
        ({"convention": "notebook", "kinds": {"random": [1]}}, r"kinds\.random: .*; found \[1\]"),
    ],
)
def test_a_value_of_the_wrong_shape_is_a_message(overrides: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        load_config("smollm2-135m", overrides)


def test_kinds_are_found_under_any_label():
    config = load_config(
        "smollm2-135m", {"kinds": {"mg": {"kind": "model-generated"}, "model-generated": {"kind": "random"}}}
    )
    assert config.labels_of("model-generated") == ["mg"]
    assert Examples().labels(config) == ("mg", "model-generated")
