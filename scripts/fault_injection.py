"""Fail or kill a run at every call that changes its folder, one after another, and see whether it goes on.

    python scripts/fault_injection.py --out benchmarks/results/faults.json

As SQLite tests a crash: the Nth call fails, for N = 1 until a command comes to its end without having got there. The
calls are those of the process, also of the libraries that write Parquet and safetensors: a few lines of C before libc
(`faults.c`; needs Linux and a C compiler). The model is a tiny one with random weights, and every try is a fork of one
process that has everything loaded.

After each try the same command is given again, undisturbed. It has to end with status 0, with every file but
manifest.json (which has times in it) as the undisturbed run wrote it, no file beside them, no unit computed again that
had been entered as done. The try itself has to end as a killed process, or with status 1 and one message; it may end
well, where what failed is not needed.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import importlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tiny_run import as_options, make_resources

HERE = Path(__file__).parent
LIBRARY = "PLATEAU_LENS_FAULTS"
MODES = {
    "fails once (input/output error)": (1, errno.EIO),
    "fails from then on (disk full)": (2, errno.ENOSPC),
    "killed before it": (3, 0),
    "killed half way through it": (4, 0),
}
NOT_COMPARED = {"manifest.json", ".lock"}
OWNER = ".owner.json"
"""Who writes at the moment: nothing but a message is made of it, so that it may stay."""


@dataclass(frozen=True)
class Scenario:
    """A command, and the folder that it is given."""

    name: str
    before: list[list[str]]
    """Commands that make the folder, undisturbed."""
    command: list[str]
    damage: Callable[[Path], None] = lambda _: None


@dataclass
class Outcome:
    """What became of one command in a process of its own."""

    status: int
    said: str
    seconds: float
    calls: int = 0
    fired: str = ""
    computed: list[int] = field(default_factory=list[int])
    entered: list[int] = field(default_factory=list[int])


class Harness:
    """One process with everything loaded, of which each command is a fork."""

    def __init__(self, work: Path, sections: Sequence[str]):
        import torch

        torch.set_num_threads(1)
        self.work, self.run = work, work / "run"
        self.faults = ctypes.CDLL(os.environ[LIBRARY])
        self.faults.fault_fired.restype = ctypes.c_char_p
        self.faults.fault_calls.restype = ctypes.c_long
        settings = make_resources(work)
        self.options = as_options(settings)
        self._load(settings, sections)

    def _load(self, settings: dict[str, Any], sections: Sequence[str]) -> None:
        """Import all, load model and SAE once, and write down which units are computed and entered."""
        from plateau_lens.execution import prepare, worker
        from plateau_lens.report import build
        from plateau_lens.runs import config, folder

        found = prepare.load_resources(config.load_config("smollm2-135m", settings))
        prepare.load_resources = lambda _: found
        prepare.load_prompts = partial(_remembered, self.work / "prompts", prepare.load_prompts)
        self.log = os.open(self.work / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        compute, enter = worker.Worker.compute, folder.RunFolder.enter_shard

        def computing(self_: Any, unit: Any) -> Any:
            os.write(self.log, b"c%d\n" % unit.index)
            return compute(self_, unit)

        def entering(self_: Any, checksums: Any, **totals: float) -> None:
            enter(self_, checksums, **totals)
            os.write(self.log, b"e%d\n" % int(next(iter(checksums)).partition("part-")[2][:5]))

        worker.Worker.compute, folder.RunFolder.enter_shard = computing, entering
        every = build.SECTIONS.all()
        build.SECTIONS.all = lambda: {name: each for name, each in every.items() if name in sections}

    def fork(
        self, command: Sequence[str], *, n: int = 0, mode: int = 0, number: int = 0, kill_after: float = 0
    ):
        """One command in a process of its own."""
        os.ftruncate(self.log, 0)
        said, told = self.work / "stderr", self.work / "told"
        told.unlink(missing_ok=True)
        since = time.monotonic()
        child = os.fork()
        if not child:
            self._child(command, said, told, n, mode, number)
        if kill_after:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seconds = time.monotonic() - since
        os.lseek(self.log, 0, os.SEEK_SET)
        log = os.read(self.log, 1_000_000).decode().split()
        units = {what: [int(line[1:]) for line in log if line[0] == what] for what in "ce"}
        calls, _, fired = told.read_text().partition(" ") if told.exists() else ("0", "", "")
        return Outcome(
            os.waitstatus_to_exitcode(status),
            said.read_text(errors="replace"),
            seconds,
            int(calls),
            fired,
            units["c"],
            units["e"],
        )

    def _child(self, command: Sequence[str], said: Path, told: Path, n: int, mode: int, number: int) -> None:
        status = 99
        try:
            err = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(err, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            from plateau_lens.cli import invoke

            self.faults.fault_arm(os.fsencode(self.run), ctypes.c_long(n), mode, number)
            status = invoke(list(command))
            sys.stderr.flush()
            self.faults.fault_disarm()
            (self.work / "modules").write_text("\n".join(sys.modules))
            told.write_text(f"{self.faults.fault_calls()} {self.faults.fault_fired().decode()}")
        finally:
            os._exit(status)

    def warm(self, commands: Sequence[Sequence[str]]) -> None:
        """Give the commands once, and import here what they imported: the forks then have it."""
        for command in commands:
            done = self.fork(command)
            assert done.status == 0, done.said
        for name in (self.work / "modules").read_text().split():
            with suppress(ImportError):
                importlib.import_module(name)
        shutil.rmtree(self.run)

    def content(self) -> dict[str, bytes]:
        """Every file of the run that is to be the same however it came about."""
        files = (path for path in self.run.rglob("*") if path.is_file())
        named = {str(path.relative_to(self.run)): path for path in files}
        return {name: path.read_bytes() for name, path in named.items() if name not in NOT_COMPARED}

    def begin(self, scenario: Scenario) -> None:
        """The folder as the scenario's command finds it."""
        kept = self.work / f"{scenario.name}.begin"
        if not kept.exists():
            shutil.rmtree(self.run, ignore_errors=True)
            for command in scenario.before:
                made = self.fork(command)
                assert made.status == 0, made.said
            self.run.mkdir(exist_ok=True)
            scenario.damage(self.run)
            shutil.copytree(self.run, kept)
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(kept, self.run)


def _remembered(cache: Path, load: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Prompts as a first command sampled them: that changes no folder, and takes longer than all the rest."""
    if not cache.exists():
        cache.write_bytes(pickle.dumps(load(*arguments, **options)))
    return pickle.loads(cache.read_bytes())


def scenarios(run: Path, options: Sequence[str]) -> list[Scenario]:
    """A new run, more pairs of it, its curves measured again, and a damaged one mended."""
    first = ["run", "--force", "--out", str(run), *options]

    def flip(folder: Path) -> None:
        for path in (folder / "curves" / "part-00001.parquet", folder / "steps.parquet"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    return [
        Scenario("new", [], first),
        Scenario("extend", [first], ["run", "--force", str(run), "--set", "pairs=7"]),
        Scenario("measure", [first], ["measure", str(run), "--set", "statistics.ap.threshold=0.5"]),
        Scenario("mend", [first], ["run", "--force", str(run)], flip),
        Scenario("report", [first], ["report", str(run)]),
    ]


def wrong(
    wanted: dict[str, bytes],
    tried: Outcome,
    left: dict[str, bytes],
    again: Outcome,
    content: dict[str, bytes],
):
    """What is not as it should be after a try and the same command once more."""
    left = {name: content for name, content in left.items() if name != OWNER}
    if tried.status == 0 and left != wanted:
        yield "the try said that all was well, and it was not"
    if tried.status not in (0, 1, -signal.SIGKILL):
        yield f"the try ended with status {tried.status}"
    if "Traceback" in tried.said or (tried.status == 1 and tried.said.count("plateau-lens: ") != 1):
        yield f"the try said {tried.said!r}"
    if again.status != 0:
        yield f"the same command ended with status {again.status}: {again.said!r}"
    yield from (f"{name} is left behind" for name in content.keys() - wanted.keys())
    yield from (f"{name} is missing" for name in wanted.keys() - content.keys())
    yield from (f"{name} differs" for name in content.keys() & wanted.keys() if content[name] != wanted[name])
    for unit in sorted(set(tried.entered) & set(again.computed)):
        yield f"unit {unit} was done, and computed again"


def inject(harness: Harness, chosen: Sequence[str], every: int, kills: int, seed: int) -> dict[str, Any]:
    """All tries of the scenarios: counts, and what went wrong."""
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    every_one = scenarios(harness.run, harness.options)
    harness.warm([each.command for each in every_one])
    for scenario in every_one:
        if scenario.name not in chosen:
            continue
        harness.begin(scenario)
        undisturbed = harness.fork(scenario.command)
        assert undisturbed.status == 0, undisturbed.said
        wanted = harness.content()
        draw = random.Random(seed)
        tries: dict[str, list[tuple[str, dict[str, Any]]]] = {
            how: [
                (f"call {n}", {"n": n, "mode": mode, "number": number})
                for n in range(1, undisturbed.calls + 1, every)
            ]
            for how, (mode, number) in MODES.items()
        }
        moments = [
            draw.uniform(0, undisturbed.seconds) for _ in range(kills if scenario.name == "new" else 0)
        ]
        if moments:
            tries["killed at a random moment"] = [(f"{at:.3f} s", {"kill_after": at}) for at in moments]
        for how, each in tries.items():
            outcomes: Counter[str] = Counter()
            for at, options in each:
                harness.begin(scenario)
                tried = harness.fork(scenario.command, **options)
                left = harness.content()
                again = harness.fork(scenario.command)
                bad = list(wrong(wanted, tried, left, again, harness.content()))
                ended = {0: "went on", 1: "status 1, one message"}.get(tried.status, "killed")
                outcomes["wrong" if bad else ended] += 1
                for line in bad:
                    faults.append(f"{scenario.name}, {how}, {at} ({tried.fired}): {line}")
                    print(f"{faults[-1]:.200} ... {faults[-1][-400:]}", flush=True)
            rows.append({"command": scenario.name, "fault": how, "tried": len(each), **outcomes})
            print(rows[-1], flush=True)
    return {"rows": rows, "wrong": faults}


def main() -> None:
    """Compile the library, start anew with it before libc, and try."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the counts here, as JSON")
    parser.add_argument("--every", type=int, default=1, help="every how manyeth call; default each")
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments of a new run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenarios", default="new,extend,measure,mend,report")
    parser.add_argument(
        "--sections", default="definitions,prompts", help="sections of the report that are built"
    )
    asked = parser.parse_args()
    if LIBRARY not in os.environ:
        with tempfile.TemporaryDirectory() as work:
            library = Path(work) / "faults.so"
            subprocess.run(
                ["cc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "faults.c", "-ldl"], check=True
            )
            first = {LIBRARY: str(library), "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
            quiet = {"TOKENIZERS_PARALLELISM": "false", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(
                [sys.executable, *sys.argv], env={**os.environ, **first, **quiet}, check=False
            )
            sys.exit(done.returncode)
    with tempfile.TemporaryDirectory() as work:
        harness = Harness(Path(work).resolve(), asked.sections.split(","))
        found = inject(harness, asked.scenarios.split(","), asked.every, asked.kills, asked.seed)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(bool(found["wrong"]))


if __name__ == "__main__":
    main()
