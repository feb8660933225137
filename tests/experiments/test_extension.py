"""More pairs extend a run, and what touches no curve is never a reason to refuse one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plateau_lens import RunConfig, RunFolder, RunFolderError, load_config
from plateau_lens.cli import invoke
from plateau_lens.execution.compute import compute
from plateau_lens.execution.prepare import Resources, load_resources
from plateau_lens.execution.worker import Worker


@pytest.fixture(scope="module")
def configure(tiny_model_folder: Path, tiny_sae_folder: Path) -> Callable[..., RunConfig]:
    def make(**changes: Any) -> RunConfig:
        table = {
            "name": "tiny",
            "model": {"source": str(tiny_model_folder)},
            "prompts": {"source": "sampled", "n_ctx": 6, "population": 30},
            "sae": {"source": str(tiny_sae_folder)},
            "pairs": 4,
            "unit_size": 3,
            "n_steps": 10,
            "kinds": ["model-generated", "synthetic-baseline"],
            # Units of pairs, of a base's examples and of codes alone: those behind the pairs move on when these grow.
            "experiments": {
                "toward": {},
                "examples": {"bases": 2, "targets": 3},
                "codes": {"prompts": 20},
            },
        }
        return load_config({**table, **changes})

    return make


@pytest.fixture(scope="module")
def resources(configure: Callable[..., RunConfig]) -> Resources:
    return load_resources(configure())


@pytest.fixture(scope="module")
def four(configure: Callable[..., RunConfig], resources: Resources, tmp_path_factory: Any) -> RunFolder:
    return compute(configure(), tmp_path_factory.mktemp("runs") / "four", resources=resources)


@pytest.fixture(scope="module")
def eight(configure: Callable[..., RunConfig], resources: Resources, tmp_path_factory: Any) -> RunFolder:
    return compute(configure(pairs=8), tmp_path_factory.mktemp("runs") / "eight", resources=resources)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Units as they are computed."""
    done: list[int] = []
    real = Worker.compute
    monkeypatch.setattr(Worker, "compute", lambda self, unit: (done.append(unit.index), real(self, unit))[1])
    return done


@pytest.fixture
def copied(four: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder.open(shutil.copytree(four.path, tmp_path / "copy"))


def content(folder: RunFolder) -> dict[str, bytes]:
    """Every file of a run but its manifest, which has times in it."""
    apart = {"manifest.json", ".lock"}
    found = (path for path in folder.path.rglob("*") if path.is_file() and path.name not in apart)
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in found}


def test_more_pairs_give_what_asking_for_all_at_first_would_have_given(
    copied: RunFolder,
    eight: RunFolder,
    configure: Callable[..., RunConfig],
    resources: Resources,
    computed: list[int],
) -> None:
    extended = compute(configure(pairs=8), copied.path, resources=resources)
    assert content(extended) == content(eight)
    assert extended.manifest()["shards"] == eight.manifest()["shards"]
    # Pairs 0 to 2 are unit 0 of both. Unit 1 was of pair 3 alone, and what was behind it is elsewhere now.
    assert computed == [1, 2, 3, 4, 5]


def test_an_extension_that_is_cut_short_is_no_finished_run_and_goes_on(
    copied: RunFolder,
    eight: RunFolder,
    configure: Callable[..., RunConfig],
    resources: Resources,
    computed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = RunFolder.enter_shard

    def killed(self: RunFolder, checksums: Any, **totals: float) -> None:
        real(self, checksums, **totals)
        if "curves/part-00002.parquet" in checksums:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "enter_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            compute(configure(pairs=8), copied.path, resources=resources)
    with pytest.raises(RunFolderError, match=r"has no steps\.parquet yet; run it to the end first"):
        RunFolder.open(copied.path).steps()
    assert content(compute(configure(pairs=8), copied.path, resources=resources)) == content(eight)
    assert computed == [1, 2, 3, 4, 5]


def test_an_extension_that_ends_before_old_shards_are_gone_takes_them_away_later(
    copied: RunFolder,
    eight: RunFolder,
    configure: Callable[..., RunConfig],
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The manifest knows them no more by then."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "strays", killed)
        with pytest.raises(KeyboardInterrupt):
            compute(configure(pairs=8), copied.path, resources=resources)
    own = copied.path / "curves" / "part-of-mine.txt"
    own.write_text("mine")
    extended = compute(configure(pairs=8), copied.path, resources=resources)
    assert own.read_text() == "mine"
    own.unlink()
    assert content(extended) == content(eight)


def test_fewer_pairs_than_there_are_would_lose_some_and_are_refused(
    eight: RunFolder, configure: Callable[..., RunConfig], resources: Resources
) -> None:
    with pytest.raises(RunFolderError, match="pairs: the folder has 8, asked for 4"):
        compute(configure(pairs=4), eight.path, resources=resources)


def test_more_pairs_than_the_population_are_another_run(
    copied: RunFolder, configure: Callable[..., RunConfig], resources: Resources
) -> None:
    with pytest.raises(RunFolderError, match=r"prompts\.population: the folder has 30, asked for 31"):
        compute(configure(pairs=31), copied.path, resources=resources)


def test_another_name_threshold_or_unit_size_is_taken_up_with_nothing_computed(
    copied: RunFolder,
    four: RunFolder,
    configure: Callable[..., RunConfig],
    resources: Resources,
    computed: list[int],
) -> None:
    changed = configure(name="other", unit_size=2, statistics={"ap": {"threshold": 0.5}})
    folder = compute(changed, copied.path, resources=resources)
    assert computed == []
    found = folder.config()
    assert (found.name, found.statistics["ap"]["threshold"]) == ("other", 0.5)
    assert found.unit_size == 3, "what is there, and what may come, are of one unit size"
    shards = {name for name in content(four) if "part-" in name}
    assert {name: content(folder)[name] for name in shards} == {name: content(four)[name] for name in shards}


def test_run_with_a_folder_mends_whatever_is_damaged(
    copied: RunFolder, four: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = [
        "config.yaml",
        "prompts.parquet",
        "steps.parquet",
        "curves/part-00001.parquet",
        sorted(copied.path.glob("latents/part-*.parquet"))[0].relative_to(copied.path).as_posix(),
    ]
    for name in damaged:
        (copied.path / name).write_bytes(b"not what was written")
    assert invoke(["check", str(copied.path)]) == 1
    said = capsys.readouterr().err
    assert [
        name
        for name in damaged
        if f"{name} is not what was written: it is damaged, or was edited; lost: " not in said
    ] == [], said
    assert said.count(f"`plateau-lens run {copied.path}` makes it again") == len(damaged)
    assert invoke(["run", str(copied.path)]) == 0
    mended = content(RunFolder.open(copied.path))
    assert {name: mended[name] for name in content(four)} == content(four)
    capsys.readouterr()
    assert invoke(["check", str(copied.path)]) == 0
    assert "files are as they were written; finished." in capsys.readouterr().out
