"""Whatever is done to a run's folder, in whatever order: what was reported as done is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from plateau_lens import RunFolder, RunFolderError, load_config
from plateau_lens.execution.compute import compute
from plateau_lens.execution.prepare import Resources, load_resources
from plateau_lens.execution.step_values import measure_again
from plateau_lens.execution.worker import Worker
from plateau_lens.report import build

SHARDS = ("curves", "activations", "codes")


class Kill(BaseException):
    """As SIGKILL: nothing catches it."""


class Shared:
    """What all machines have in common: the model, and what each number of pairs gives undisturbed."""

    def __init__(self, model: Path, sentences: Sequence[str], work: Path):
        self.work = work
        (work / "prompts.txt").write_text("\n".join(sentences))
        self.table = {
            "name": "tiny",
            "model": {"source": str(model)},
            "prompts": {"source": str(work / "prompts.txt"), "n_ctx": 6, "population": 8},
            "pairs": 2,
            "unit_size": 2,
            "n_steps": 10,
            "kinds": ["model-generated", "random"],
            "experiments": ["toward"],
            "responses": ["l2"],
            "statistics": {"ms": {}, "ap": {"threshold": 0.5}},
        }
        self.resources: Resources = load_resources(self.config(2))
        self.wanted = {
            pairs: self.shards(self.run(work / f"undisturbed-{pairs}", pairs)) for pairs in (2, 4, 6)
        }

    def config(self, pairs: int) -> Any:
        return load_config({**self.table, "pairs": pairs})

    def run(self, path: Path, pairs: int) -> RunFolder:
        return compute(self.config(pairs), path, resources=self.resources)

    def shards(self, folder: RunFolder) -> dict[str, bytes]:
        return {name: (folder.path / name).read_bytes() for name in folder.manifest()["shards"]}


class FolderMachine(RuleBasedStateMachine):
    """A folder, and what is known to be done in it."""

    shared: Shared
    count = 0

    @initialize()
    def begin(self) -> None:
        type(self).count += 1
        self.path = self.shared.work / f"run-{self.count}"
        self.pairs = 2
        self.entered: set[str] = set()
        self.damaged: set[str] = set()
        self.measuring = False
        shutil.rmtree(self.path, ignore_errors=True)

    def _units_computed(self, action: Any) -> list[int]:
        computed: list[int] = []
        real = Worker.compute

        def counting(worker: Worker, unit: Any) -> Any:
            computed.append(unit.index)
            return real(worker, unit)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Worker, "compute", counting)
            action()
        return computed

    def _go_on(self) -> None:
        done = {name for name in self.entered if not name.startswith(tuple(self.damaged))}
        lost = {name[-13:-8] for name in self.damaged if name.startswith(SHARDS)}
        computed = self._units_computed(lambda: self.shared.run(self.path, self.pairs))
        twice = [
            unit
            for unit in computed
            if any(f"{unit:05d}" in name for name in done) and f"{unit:05d}" not in lost
        ]
        assert twice == [], f"computed again: {twice}, entered {sorted(done)}, damaged {self.damaged}"
        folder = RunFolder.open(self.path, to_measure=True)
        assert self.shared.shards(folder) == self.shared.wanted[self.pairs]
        self.entered, self.damaged = set(folder.manifest()["shards"]), set()

    @rule(more=st.sampled_from([0, 0, 2]))
    def run_or_extend(self, more: int) -> None:
        self.pairs = min(6, self.pairs + more)
        self._go_on()

    @rule(at=st.integers(1, 25), more=st.sampled_from([0, 2]))
    def killed(self, at: int, more: int) -> None:
        """At the nth file that takes its place."""
        self.pairs = min(6, self.pairs + more)
        left = at
        replace, enter = Path.replace, RunFolder.enter_shard

        def dying(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if not left:
                raise Kill
            return replace(path, target)

        def entering(folder: RunFolder, checksums: Any, **totals: float) -> None:
            enter(folder, checksums, **totals)
            self.entered |= set(checksums)
            self.damaged -= set(checksums)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "replace", dying)
            patched.setattr(RunFolder, "enter_shard", entering)
            try:
                self.shared.run(self.path, self.pairs)
            except Kill:
                return
        self.entered, self.damaged = set(RunFolder(self.path).manifest()["shards"]), set()

    @precondition(lambda self: self.entered)
    @rule(which=st.integers(0, 100), how=st.sampled_from(["flipped", "cut", "gone"]))
    def damage(self, which: int, how: str) -> None:
        names = sorted(self.entered | {"steps.parquet", "config.yaml", "prompts.parquet"})
        name = names[which % len(names)]
        path = self.path / name
        if not path.is_file():
            return
        content = bytearray(path.read_bytes())
        if how == "gone":
            path.unlink()
        else:
            content[len(content) // 2] ^= 1
            path.write_bytes(content if how == "flipped" else content[:-1])
        self.damaged.add(name)

    def _finished(self) -> bool:
        if not (self.path / "manifest.json").is_file():
            return False
        return "finished" in RunFolder(self.path).manifest()

    @precondition(lambda self: self.entered)
    @rule(threshold=st.sampled_from([0.5, 1.0]))
    def measure(self, threshold: float) -> None:
        """Either measured, or refused with every curve still there."""
        finished = self._finished()
        try:
            measure_again(RunFolder(self.path), {"statistics.ap.threshold": threshold})
        except RunFolderError:
            assert self.damaged or not finished
        else:
            assert finished
            self.damaged -= {"steps.parquet", "config.yaml"}

    @precondition(lambda self: self.entered)
    @rule()
    def report(self) -> None:
        try:
            build.build_report(RunFolder.open(self.path), only_tables=True)
        except RunFolderError:
            assert self.damaged or not self._finished()

    @invariant()
    def what_was_done_is_there(self) -> None:
        if not getattr(self, "entered", None):
            return
        folder = RunFolder(self.path)
        shards = folder.manifest()["shards"]
        assert self.entered <= shards.keys()
        damaged = {str(each.path.relative_to(self.path)) for each in folder.damage()}
        assert damaged & self.entered <= self.damaged


@pytest.fixture(scope="module")
def shared(
    tiny_model_folder: Path, sentences: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    sections = {
        name: each for name, each in build.SECTIONS.all().items() if name in ("definitions", "warnings")
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build.SECTIONS, "all", lambda: sections)
        yield Shared(tiny_model_folder, sentences, tmp_path_factory.mktemp("machine"))


def test_what_was_reported_as_done_is_never_lost(shared: Shared) -> None:
    FolderMachine.shared = shared
    run_state_machine_as_test(
        FolderMachine,
        settings=settings(
            max_examples=5,
            stateful_step_count=6,
            phases=[Phase.generate],  # to make a failing one smaller takes minutes
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
