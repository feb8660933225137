"""Two runs side by side."""

import polars as pl
import pytest

from plateau_lens import RunFolder
from plateau_lens.cli import invoke
from plateau_lens.cli.compare import compare


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_model_folder):
    """The same run with two seeds' worth of random targets, and one on other kinds."""
    out = tmp_path_factory.mktemp("compare")
    settings = {
        "model.source": tiny_model_folder,
        "sae": "null",
        "prompts.source": "sampled",
        "prompts.population": 20,
        "n_steps": 10,
        "kinds": "[model-generated, random]",
        "experiments": "[toward]",
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    for name, extra in {"a": [], "b": ["--seed", "1"], "c": ["--set", "kinds=[random]"]}.items():
        assert invoke(["run", "--no-report", *options, "--pairs", "6", *extra, "--out", str(out / name)]) == 0
    return out


def test_differences_are_those_of_the_tables(capfd, runs):
    assert invoke(["compare", str(runs / "a"), str(runs / "b")]) == 0
    out = capfd.readouterr().out
    means = [
        RunFolder.open(runs / name)
        .steps()
        .filter(
            (pl.col("kind") == "random") & (pl.col("schedule") == "relative") & (pl.col("statistic") == "ap")
        )["value"]
        .mean()
        for name in ("a", "b")
    ]
    row = next(
        line
        for line in out.splitlines()
        if "toward relative" in line and "l2 ap" in line and "random" in line
    )
    assert f"{means[0]:.2f}" in row
    assert f"{means[1]:.2f}" in row
    assert f"{means[1] - means[0]:+.2f}" in row


def test_a_run_against_itself_is_paired_and_differs_by_nothing(runs):
    folder = RunFolder.open(runs / "a")
    table = compare(folder, folder)
    assert "paired bootstrap" in str(table.title)
    assert "unpaired" not in str(table.title)
    assert set(table.columns[5].cells) <= {"+0.00", "+nan"}


def test_only_what_both_have_is_compared(runs):
    table = compare(RunFolder.open(runs / "a"), RunFolder.open(runs / "c"))
    assert set(table.columns[2].cells) == {"random"}
