"""A finished run's curves, measured again: other parameters, other statistics, and folders of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from finished_runs import N_STEPS, write_finished

from plateau_lens import ConfigError, RunFolder, RunFolderError
from plateau_lens.cli import invoke
from plateau_lens.execution.step_values import measure_again
from plateau_lens.runs.folder import FORMAT

OLD_STATISTICS = {
    "ap_threshold": 4.0,
    "min_slope": {"l2": 0.004, "kl": 1e-3, "js": 1e-3},
    "ms": "paper",
    "auc": "paper",
    "equivalence_margin": 2.0,
    "cut_size": None,
}


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    return write_finished(tmp_path / "run")


def make_old(folder: RunFolder) -> None:
    """What a folder of format 1 has otherwise: keys of the configuration, and no bound of a blow-up not seen."""
    for name in ("request", "config"):
        new = (
            folder.manifest()["request"]
            if name == "request"
            else yaml.safe_load((folder.path / "config.yaml").read_text())
        )
        for key in ("report", "cut_size"):
            del new[key]
        old = {
            **new,
            "experiments": list(new["experiments"]),
            "responses": list(new["responses"]),
            "statistics": OLD_STATISTICS if name == "config" else {**OLD_STATISTICS, "ap_threshold": "auto"},
            "schedules_of": {},
            "examples": {"bases": 3, "targets": 10, "kinds": "auto"},
        }
        if name == "config":
            folder.write_text("config.yaml", yaml.safe_dump(old))
        else:
            manifest = {**folder.manifest(), "format": 1, "request": old}
            del manifest["measured_again"]
            folder.write_manifest(manifest, files=())
    unseen = (pl.col("statistic") == "ms") & pl.col("censored") & (pl.col("pair") == 5)
    steps = folder.steps().with_columns(pl.when(unseen).then(float("nan")).otherwise("value").alias("value"))
    folder.write_table("steps.parquet", steps)


def values(folder: RunFolder, statistic: str, response: str = "l2") -> list[float]:
    chosen = folder.steps().filter(statistic=statistic, response=response, kind="random", schedule="relative")
    return chosen.sort("pair")["value"].to_list()


def test_a_parameter_changes_what_depends_on_it_and_the_manifest_says_so(finished: RunFolder) -> None:
    before = finished.steps()
    assert values(finished, "ap") == [3, 5, 7, 9, 11, N_STEPS]
    changed = measure_again(finished, {"statistics.ap.threshold": 41})
    # Automatic least slopes follow the threshold.
    assert changed == {
        "statistics.ap.threshold": [4.0, 41.0],
        "statistics.ms.min_slope.l2": [pytest.approx(0.004), pytest.approx(0.041)],
    }
    assert values(finished, "ap") == [N_STEPS] * 6
    rest = pl.col("statistic") != "ap"
    assert finished.steps().filter(rest).equals(before.filter(rest))
    assert finished.manifest()["measured_again"][-1]["changed"].keys() == changed.keys()
    assert finished.config().statistics["ap"]["threshold"] == 41
    assert measure_again(finished, {}) == {}, "what was asked for stands until something else is"


def test_another_statistic_is_added_from_the_curves_alone(finished: RunFolder) -> None:
    measure_again(finished, {"statistics.steep": {"statistic": "ap", "response": "kl", "threshold": 2}})
    assert values(finished, "steep", "kl") == [3, 5, 7, 9, 11, N_STEPS]
    assert finished.steps().filter(statistic="steep")["response"].unique().to_list() == ["kl"]


def test_plateaus_in_other_units_and_at_other_thresholds_are_measured_on_a_finished_run(
    finished: RunFolder,
) -> None:
    more = {"ap-of-norm": {}, "ap-of-distance": {}, "ap-share": {"statistic": "ap", "threshold": "share"}}
    measure_again(finished, {f"statistics.{label}": given for label, given in more.items()})
    # Cliffs at steps 3, 5, ..., 11 of a way of 7 in 20 steps, from bases of norm 50; the last curve never rises.
    cliffs = np.array([3, 5, 7, 9, 11])
    assert values(finished, "ap-share")[:5] == cliffs.tolist()
    assert np.isnan(values(finished, "ap-share")[5])
    np.testing.assert_allclose(values(finished, "ap-of-distance"), [*cliffs / 20, 1])
    np.testing.assert_allclose(values(finished, "ap-of-norm"), [*cliffs * 7 / 20 / 50, 7 / 50])
    assert finished.config().statistics["ap-of-norm"]["threshold"] == pytest.approx(4.0)


def test_what_needs_other_curves_is_refused(finished: RunFolder) -> None:
    with pytest.raises(
        ConfigError,
        match=r"n_steps, kinds\.random\.divisor: measuring again changes statistics, report, name",
    ):
        measure_again(finished, {"n_steps": 50, "kinds.random.divisor": "n", "statistics.ap.threshold": 3})


def test_an_unfinished_run_and_one_without_curves_are_refused(finished: RunFolder) -> None:
    (finished.path / "curves" / "part-00000.parquet").unlink()
    with pytest.raises(
        RunFolderError,
        match=r"curves/part-00000\.parquet is gone; lost: the curves of part-00000; `plateau-lens run ",
    ):
        measure_again(finished, {})
    manifest = finished.manifest()
    del manifest["finished"]
    finished.write_manifest(manifest)
    with pytest.raises(RunFolderError, match="is not finished"):
        measure_again(finished, {})


def test_a_folder_of_an_earlier_version_says_how_to_migrate_and_does(
    finished: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = finished.steps()
    make_old(finished)
    path = str(finished.path)
    assert np.isnan(values(finished, "ms")[-1])
    for command in (["report", path], ["claims", path], ["compare", path, path]):
        assert invoke(command) == 1
        assert f"run `plateau-lens measure {path}` once" in capsys.readouterr().err
    assert invoke(["measure", path]) == 0
    folder = RunFolder.open(path)
    assert folder.steps().equals(wanted), "the bound of a blow-up that was not seen is in the value now"
    assert values(folder, "ms")[-1] == N_STEPS
    assert json.loads((folder.path / "manifest.json").read_text())["format"] == FORMAT
    assert invoke(["report", path]) == 0


def test_the_command_says_what_changed(finished: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["measure", str(finished.path), "--set", "statistics.ap.threshold=39"]) == 0
    assert "statistics.ap.threshold: 4.0 -> 39.0" in capsys.readouterr().out
    assert (finished.path / "report.html").is_file()
    assert invoke(["measure", str(finished.path), "--set", "pairs=3"]) == 1
    assert "measuring again changes statistics, report, name, plugins alone" in capsys.readouterr().err
