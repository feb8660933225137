"""A run that is stopped, or whose process is killed: it ends at once, says how to go on, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from plateau_lens import RunFolder
from plateau_lens.cli import invoke

PAIRS = 40


def options(model: Path, out: Path) -> list[str]:
    settings = {
        "model.source": model,
        "prompts.source": "sampled",
        "prompts.population": PAIRS,
        "prompts.n_ctx": 6,
        "kinds": "[model-generated, random]",
        "sae": "null",
        "experiments": "[toward]",
        "responses": "[l2, kl, js]",
        "n_steps": 2000,
        "unit_size": 1,
    }
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["run", "--no-report", "--pairs", str(PAIRS), "--out", str(out), *given]


class Running:
    """``plateau-lens run`` in a process of its own, past its first shard."""

    def __init__(self, arguments: list[str], out: Path):
        code = "import sys; from plateau_lens.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        journal, until = out / "manifest.jsonl", time.monotonic() + 90
        while not journal.exists():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.05)
        self.workers = psutil.Process(self.process.pid).children(recursive=True)

    def stopped_by(self, number: int, *, everybody: bool) -> tuple[int, str, float]:
        """Exit status, what was said, and after how many seconds."""
        since = time.monotonic()
        (os.killpg if everybody else os.kill)(self.process.pid, number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said, time.monotonic() - since


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_stopped_says_how_to_go_on(
    tiny_model_folder: Path, tmp_path: Path, workers: int, number: int
) -> None:
    out = tmp_path / "run"
    running = Running([*options(tiny_model_folder, out), "--workers", str(workers)], out)
    # Ctrl-C on a terminal reaches every process of the command; SIGTERM the one that it was sent to.
    status, said, _ = running.stopped_by(number, everybody=number == signal.SIGINT)
    assert status == 130
    assert said.strip().splitlines()[-1] == "plateau-lens: interrupted; run the same command again to go on"
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(running.workers, timeout=10)
    assert not alive
    assert not [path for path in out.rglob("*.tmp")]
    shards = RunFolder(out).manifest()["shards"]
    assert shards


def test_a_killed_run_takes_its_workers_along_and_goes_on(tiny_model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = options(tiny_model_folder, out)
    running = Running([*arguments, "--workers", "2"], out)
    running.stopped_by(signal.SIGKILL, everybody=False)
    _, alive = psutil.wait_procs(running.workers, timeout=10)
    assert not alive
    before = RunFolder(out).manifest()["shards"]
    written = {name: (out / name).stat().st_mtime_ns for name in before}
    assert invoke(arguments) == 0
    folder = RunFolder.open(out)
    assert folder.manifest()["finished"]
    assert {name: (out / name).stat().st_mtime_ns for name in before} == written, "no unit is computed twice"
    assert sorted(folder.curves()["pair"].unique()) == list(range(PAIRS))
    assert not [path for path in out.rglob("*.tmp")]


@pytest.mark.parametrize("at", ["manifest.json", "config.yaml", "prompts.parquet"])
def test_killed_at_its_first_files_the_folder_is_taken_again(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    from plateau_lens.runs import folder as runs_folder

    out, real = tmp_path / "run", runs_folder.whole_file

    def killed(path: Path):
        if path.name == at:
            raise KeyboardInterrupt
        return real(path)

    arguments = [*options(tiny_model_folder, out), "--set", "n_steps=10", "--set", "unit_size=20"]
    with monkeypatch.context() as patched:
        patched.setattr(runs_folder, "whole_file", killed)
        assert invoke(arguments) == 130
    assert invoke(arguments) == 0
    assert json.loads((out / "manifest.json").read_text())["finished"]


def test_a_plugin_that_exits_is_a_mistake_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "quits.py"
    plugin.write_text("import sys\nsys.exit(0)\n")
    assert (
        invoke(["run", "smollm2-135m", "--set", f"plugins=[{plugin}]", "--out", str(tmp_path / "run")]) == 1
    )
    assert f"plugin '{plugin}' cannot be imported: SystemExit: 0" in capsys.readouterr().err
