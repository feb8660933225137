"""Give the command line what nobody should give it, thousands of times, and count how it ends.

    python scripts/hostile_input.py --cases 10000 --out benchmarks/results/hostile-input.json

Cases are drawn by hypothesis: configurations from the schema, ``--set``, prompt files, SAE folders, model folders, run
folders that were damaged or edited by hand (with the checksums put right). Each is a command in a folder of its own. It
has to end within 10 s (of the processor) and 1 GB, with status 0, or with 1 or 2 and one message. No traceback, no
status 3, no file left behind by what was refused, no file of the user's touched.

The model is a tiny one with random weights; of a report those sections are built that print what they are given.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tiny_run import make_resources

SECONDS, BYTES = 10.0, 2**30
SECTIONS = ("definitions", "prompts", "provenance", "warnings")
MINE = {"notes.txt": b"mine", "run/tables/mine.csv": b"mine,too\n", "run/figures/mine.png": b"and this"}
"""Files of the user's own, beside what a command is given and inside the run's folders."""


@dataclass(frozen=True)
class Case:
    """A command, and the files that it finds."""

    command: list[str]
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """By name, written over what `copied` has."""
    copied: tuple[str, ...] = ()
    """Folders that are there beforehand: ``model``, ``sae``, ``run``."""
    edit: Callable[[Path], None] = lambda _: None
    what: str = ""

    def __repr__(self) -> str:
        shown = {name: content[:200] for name, content in self.files.items()}
        return f"{self.command} {shown or ''} {self.what}"


@dataclass(frozen=True)
class Ended:
    """How a case ended."""

    status: int
    said: str
    seconds: float
    """Of the processor: others who use the machine do not count. One that waits is ended after 60 s of the clock."""
    memory: int
    wrong: list[str]


# -- values ------------------------------------------------------------------------------------------------

odd_text = st.one_of(
    st.text("abcxyzABC 0123456789_-./:éß漢😀'\"#&*{}[],!%", max_size=12),
    st.text("abcxyzABC 0123456789_-./:éß漢😀'\"#&*{}[],!%", max_size=12),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "auto",
            "null",
            "../..",
            "/etc/passwd",
            "~",
            "a/b",
            "\x1b[31m",
            "[bold]x[/bold]",
            "a" * 300,
            "\ud800",
            "nan",
            "1e400",
            "0x_",
            "2024-13-45",
            "%s{}",
            "\u202e",
            "ﷺ" * 50,
            "\0",
            "-",
            "*",
            "random",
            "cpu",
            "cuda:99",
            "true",
        ]
    ),
)
# Numbers that are legal and large are no mistake, and take as long as they take.
odd_numbers = st.one_of(
    st.integers(-5, 60),
    st.integers(10**7, 10**30),
    st.integers(-(10**30), -5),
    st.floats(),
    st.sampled_from([1e-320, -0.0]),
)
scalars = st.one_of(st.none(), st.booleans(), odd_numbers, odd_text)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_text, inner, max_size=3)),
    max_leaves=6,
)


@functools.cache
def keys() -> list[str]:
    """Dotted keys of the configuration, from its schema, and those of what it lists."""
    from plateau_lens.runs.config import RunConfig

    schema = RunConfig.model_json_schema()

    def walk(node: dict[str, Any], at: str) -> Iterator[str]:
        for key, each in node.get("properties", {}).items():
            yield f"{at}{key}"
            for option in [each, *each.get("anyOf", []), *each.get("allOf", [])]:
                if "$ref" in option:
                    yield from walk(schema["$defs"][option["$ref"].rpartition("/")[2]], f"{at}{key}.")

    listed = [
        "statistics.ap.threshold",
        "statistics.ms",
        "experiments.toward.kinds",
        "experiments.codes.prompts",
    ]
    listed += [
        "kinds.random",
        "kinds.mine.kind",
        "responses.l2",
        "convention",
        "preset",
        "experiments.examples.bases",
    ]
    return [*walk(schema, ""), *listed]


def plausible() -> dict[str, st.SearchStrategy[Any]]:
    """Values that pass for right, by key: they get further than those that are refused for their sort."""
    from plateau_lens.activations.registry import KINDS
    from plateau_lens.steps.registry import STATISTICS

    some = functools.partial(st.lists, unique=True, min_size=1)
    lengths = st.one_of(st.floats(1e-29, 1e29), st.floats(0.01, 10), st.just("auto"))
    site = st.builds("blocks.{}.hook_resid_{}".format, st.integers(-1, 4), st.sampled_from(["pre", "post"]))
    statistics = st.dictionaries(
        st.sampled_from([*STATISTICS.all(), "mine"]),
        st.one_of(
            st.just({}), st.fixed_dictionaries({"threshold": odd_numbers}), st.just({"response": "kl"})
        ),
    )
    return {
        "pairs": st.integers(1, 12),
        "n_steps": st.integers(10, 40),
        "seed": st.integers(0, 2**63),
        "unit_size": st.integers(1, 5),
        "step_size": lengths,
        "cut_size": lengths,
        "site": site,
        "read_site": site,
        "prompts.n_ctx": st.integers(2, 70),
        "prompts.population": st.integers(2, 20),
        "responses": some(st.sampled_from(["l2", "kl", "js"])),
        "kinds": some(st.sampled_from([*KINDS.all()]), max_size=4),
        "statistics": statistics,
        "schedules": some(st.sampled_from(["absolute", "relative"])),
        "experiments": some(st.sampled_from(["toward", "from", "at-end", "examples", "codes"]), max_size=3),
        "experiments.codes.prompts": st.integers(1, 20),
        "experiments.examples.bases": st.integers(1, 5),
        "model.dtype": st.sampled_from(["float32", "float64", "bfloat16"]),
        "model.centre": st.sampled_from([True, False, "auto"]),
        "model.matmul": st.sampled_from(["full", "tf32", "bfloat16"]),
        "statistics.ap.threshold": lengths,
        "report.equivalence_margin": lengths,
        "report.reconstruction_error": st.one_of(st.none(), lengths),
        "convention": st.sampled_from(["paper", "notebook"]),
        "name": odd_text,
    }


def changes(most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Some keys with values: right ones, mostly, and one of any sort now and then."""
    fitting = plausible()
    right = st.sampled_from(sorted(fitting)).flatmap(lambda key: st.tuples(st.just(key), fitting[key]))
    any_sort = st.tuples(some_key(), values)
    return st.lists(st.one_of(right, right, right, any_sort), min_size=1, max_size=most).map(dict)


def some_key() -> st.SearchStrategy[str]:
    """A key that there is, mostly."""
    return st.one_of(st.sampled_from(keys()), st.sampled_from(keys()), odd_text)


def as_yaml(value: Any) -> bytes:
    """As a user might write it; JSON where YAML cannot."""
    import yaml

    try:
        return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    except Exception:
        return json.dumps(value).encode()


def nested(table: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as mappings; one that is in the way of another goes."""
    found: dict[str, Any] = {}
    for key, value in copy.deepcopy(table).items():
        *above, last = key.split(".")
        at = found
        for part in above:
            at = (
                at.setdefault(part, {})
                if isinstance(at.get(part, {}), dict)
                else at.__setitem__(part, {}) or at[part]
            )
        at[last] = value
    return found


# -- sorts of cases ----------------------------------------------------------------------------------------

SORTS: dict[str, tuple[int, Callable[[dict[str, Any]], st.SearchStrategy[Case]]]] = {}
"""Sort to its share of the cases, in percent, and its cases."""


def sort(name: str, share: int):
    """Register a sort of cases."""

    def register(make: Callable[[dict[str, Any]], st.SearchStrategy[Case]]):
        SORTS[name] = (share, make)
        return make

    return register


@sort("configurations", 25)
def configurations(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Keys of the schema with values of any sort."""

    def make(changed: dict[str, Any]) -> Case:
        table = nested({**base, **changed})
        return Case(["run", "given.yaml", "--out", "out", "--force"], {"given.yaml": as_yaml(table)})

    return changes(4).map(make)


@sort("text that is to be YAML", 8)
def yaml_text(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """A configuration with bytes put in, taken out, or repeated; or any bytes at all."""
    text = as_yaml(nested(base))
    odd = [
        b"&a [*a]",
        b"!!python/object/apply:os.system [x]",
        b"\t",
        b"? ",
        b"<<: *x\n",
        b"- ",
        b"{",
        b"[" * 200,
        b"\xff\xfe",
        b": :",
    ]

    def make(at: int, put: bytes, gone: int) -> Case:
        content = text[: at % len(text)] + put + text[at % len(text) + gone :]
        return Case(["run", "given.yaml", "--out", "out", "--force"], {"given.yaml": content})

    changed = st.builds(
        make,
        st.integers(0, 10**4),
        st.one_of(st.binary(max_size=8), st.sampled_from(odd)),
        st.integers(0, 20),
    )
    whole = st.binary(max_size=200).map(
        lambda raw: Case(["run", "given.yaml", "--out", "out"], {"given.yaml": raw})
    )
    return st.one_of(changed, changed, whole)


@sort("--set and options", 20)
def assignments(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Odd keys and values on the command line."""
    table = as_yaml(nested(base))
    plain = st.one_of(odd_text, values.map(lambda value: as_yaml(value).decode("utf-8", "replace").strip()))
    odd = st.builds(lambda key, value: f"{key}={value}", some_key(), plain)
    right = changes(1).map(
        lambda table: "".join(f"{key}={json.dumps(value)}" for key, value in table.items())
    )
    assigned = st.one_of(odd, right, right)
    option = st.sampled_from(["--pairs", "--seed", "--device", "--dtype", "--workers", "--no-such"])
    small = st.one_of(st.integers(-2, 2).map(str), odd_text.filter(lambda text: not text.isdigit()))

    def make(given: list[str], more: list[tuple[str, str]]) -> Case:
        extra = [part for text in given for part in ("--set", text)] + [
            part for pair in more for part in pair
        ]
        # Each of several workers imports everything anew; that is what its own tests are for.
        extra = [
            "1" if at and extra[at - 1] == "--workers" and part == "2" else part
            for at, part in enumerate(extra)
        ]
        return Case(["run", "given.yaml", "--out", "out", "--force", *extra], {"given.yaml": table})

    return st.builds(
        make, st.lists(assigned, min_size=1, max_size=3), st.lists(st.tuples(option, small), max_size=1)
    )


@sort("prompt files", 10)
def prompt_files(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Text of any sort, and what is no text."""
    table = {**base, "prompts.source": "prompts.txt"}
    line = st.one_of(
        st.text(max_size=60), st.text("ab \t\x00\x1b\u2028\ufeff", max_size=30), st.just("x" * 5000)
    )
    text = st.lists(line, max_size=25).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))
    ending = st.sampled_from([b"", b"\n", b"\r\n", b"\xff", b"\xef\xbb\xbf", b"\0" * 100])

    def make(content: bytes, end: bytes) -> Case:
        files = {"given.yaml": as_yaml(nested(table)), "prompts.txt": content + end}
        return Case(["run", "given.yaml", "--out", "out", "--force"], files)

    return st.builds(make, st.one_of(text, text, st.binary(max_size=400)), ending)


def _json_edits(name: str) -> st.SearchStrategy[Callable[[Path], None]]:
    """Values of one JSON file that are others."""

    def make(which: int, value: Any, new: str | None) -> Callable[[Path], None]:
        def edit(folder: Path) -> None:
            path = folder / name
            table = json.loads(path.read_text())
            key = new if new is not None else sorted(table)[which % len(table)]
            path.write_text(json.dumps({**table, key: value}))

        return edit

    return st.builds(make, st.integers(0, 100), values, st.one_of(st.none(), st.none(), odd_text))


def _byte_edits(names: list[str]) -> st.SearchStrategy[Callable[[Path], None]]:
    """A file that is cut, changed, emptied, gone, a folder, or another's."""

    def make(name: str, how: str, at: int) -> Callable[[Path], None]:
        def edit(folder: Path) -> None:
            path = folder / name
            if not path.is_file():
                return
            content = bytearray(path.read_bytes())
            if how == "flipped" and content:
                content[at % len(content)] ^= 1 << (at % 8)
                path.write_bytes(content)
            elif how == "cut":
                path.write_bytes(content[: at % (len(content) + 1)])
            elif how == "longer":
                path.write_bytes(content + b"\0" * (at % 100))
            elif how == "header":
                path.write_bytes(at.to_bytes(8, "little") + content[8:])
            elif how == "swapped":
                path.write_bytes(
                    (folder / names[at % len(names)]).read_bytes()
                    if (folder / names[at % len(names)]).is_file()
                    else b""
                )
            else:
                path.unlink()
                if how == "a folder":
                    path.mkdir()
                elif how == "a link":
                    path.symlink_to(folder.parent / "notes.txt")
                elif how == "a circle":
                    path.symlink_to(path)

        return edit

    how = [
        "flipped",
        "flipped",
        "cut",
        "longer",
        "header",
        "swapped",
        "gone",
        "a folder",
        "a link",
        "a circle",
    ]
    return st.builds(make, st.sampled_from(names), st.sampled_from(how), st.integers(0, 10**6))


def _in(name: str, edit: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / name)


@sort("SAE folders", 8)
def sae_folders(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Configuration or weights of the SAE damaged."""
    table = as_yaml(nested({**base, "sae.source": "sae"}))

    def make(edit: Callable[[Path], None]) -> Case:
        return Case(
            ["run", "given.yaml", "--out", "out", "--force"],
            {"given.yaml": table},
            ("sae",),
            _in("sae", edit),
        )

    return st.one_of(_json_edits("cfg.json"), _byte_edits(["cfg.json", "sae_weights.safetensors"])).map(make)


@sort("model folders", 9)
def model_folders(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Configuration, weights or tokenizer of the model damaged."""
    table = as_yaml(nested({**base, "model.source": "model"}))
    names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ]

    def make(edit: Callable[[Path], None], check: bool) -> Case:
        command = (
            ["check", "model", "--n-ctx", "4"] if check else ["run", "given.yaml", "--out", "out", "--force"]
        )
        return Case(command, {"given.yaml": table}, ("model",), _in("model", edit))

    edits = st.one_of(_json_edits("config.json"), _json_edits("tokenizer_config.json"), _byte_edits(names))
    return st.builds(make, edits, st.booleans())


FILES = ["config.yaml", "manifest.json", "manifest.jsonl", "prompts.parquet", "steps.parquet", "report.html"]
FILES += [f"{part}/part-{unit:05d}.parquet" for part in ("curves", "codes") for unit in (0, 1)]
FILES += ["activations/part-00000.safetensors", "latents/part-00002.parquet", ".lock"]
COMMANDS = [
    ["report", "run"],
    ["report", "run"],
    ["check", "run"],
    ["check", "run"],
    ["measure", "run"],
    ["run", "run", "--force"],
]
COMMANDS += [
    ["claims", "run"],
    ["measure", "run", "--set", "statistics.ap.threshold=0.5"],
    ["compare", "run", "whole"],
]
COMMANDS += [["run", "run", "--force", "--pairs", "5"]]


@sort("damaged run folders", 10)
def damaged_runs(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """One or two files of a run damaged."""

    def make(edits: list[Callable[[Path], None]], command: list[str]) -> Case:
        def edit(folder: Path) -> None:
            for each in edits:
                each(folder / "run")

        return Case(command, {}, ("run", "whole"), edit)

    return st.builds(make, st.lists(_byte_edits(FILES), min_size=1, max_size=2), st.sampled_from(COMMANDS))


@sort("edited run folders", 10)
def edited_runs(base: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Manifest or configuration edited by hand, by somebody who puts the checksums right."""

    def make(key: str, value: Any, of: str, command: list[str]) -> Case:
        def edit(folder: Path) -> None:
            _edit_manifest(folder / "run", key, value, of)

        return Case(command, {}, ("run", "whole"), edit, what=f"{of}: {key} = {value!r:.100}")

    inside = st.sampled_from(
        ["shards", "files", "report", "format", "finished", "measuring", "seed", "versions", "fit", "sae"]
    )
    inside |= st.sampled_from(
        [
            "request",
            "seconds",
            "started",
            "machine",
            "plugins",
            "measured_again",
            "population",
            "prompts",
            "model",
        ]
    )
    of = st.sampled_from(["manifest", "manifest", "request", "config.yaml", "shards"])
    return st.builds(make, st.one_of(inside, some_key()), values, of, st.sampled_from(COMMANDS))


def _edit_manifest(run: Path, key: str, value: Any, of: str) -> None:
    import yaml

    from plateau_lens.runs.manifest import OWN, own_digest

    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    if of == "manifest":
        manifest[key] = value
    elif of == "shards":
        manifest["shards"][key] = value
    elif of == "request":
        manifest["request"] = nested_over(manifest["request"], key, value)
    else:
        config = run / "config.yaml"
        config.write_bytes(as_yaml(nested_over(yaml.safe_load(config.read_text()), key, value)))
        manifest["files"]["config.yaml"] = hashlib.sha256(config.read_bytes()).hexdigest()
    manifest.pop(OWN, None)
    with contextlib.suppress(UnicodeEncodeError):
        path.write_text(json.dumps({**manifest, OWN: own_digest(manifest)}))


def nested_over(table: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The table with one dotted key set."""
    top, _, rest = key.partition(".")
    inner = table.get(top)
    return {**table, top: nested_over(inner, rest, value) if rest and isinstance(inner, dict) else value}


# -- running them ------------------------------------------------------------------------------------------


class Field(contextlib.ExitStack):
    """Where cases are run: resources made once, a folder each. At its end the library is as it was."""

    def __init__(self, work: Path):
        import torch

        from plateau_lens.cli import invoke
        from plateau_lens.execution import prepare
        from plateau_lens.report import build

        super().__init__()
        self.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        self.work, self.at = work, work / "case"
        self.base = make_resources(work)
        sections = {name: each for name, each in build.SECTIONS.all().items() if name in SECTIONS}
        self.enter_context(mock.patch.object(build.SECTIONS, "all", return_value=sections))
        # What is asked of the same model, and sampled from it, is the same in thousands of cases.
        load_model, load_prompts = prepare.load_model, prepare.load_prompts
        ours = functools.cache(load_model)

        def loaded_once(source: str, **how: Any) -> Any:
            return (ours if source == self.base["model.source"] else load_model)(source, **how)

        samples: dict[Any, Any] = {}

        def sampled(loaded: Any, source: str, **how: Any) -> Any:
            if source != "sampled":
                return load_prompts(loaded, source, **how)
            key = (loaded.source, str(loaded.model.dtype), *sorted(how.items()))
            if key not in samples:
                samples[key] = load_prompts(loaded, source, **how)
            return samples[key]

        self.enter_context(mock.patch.object(prepare, "load_model", loaded_once))
        self.enter_context(mock.patch.object(prepare, "load_prompts", sampled))
        config = work / "base.yaml"
        config.write_bytes(as_yaml(nested(self.base)))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert invoke(["run", str(config), "--out", str(work / "run"), "--force"]) == 0
        shutil.copytree(work / "run", work / "whole")

    def try_out(self, case: Case) -> Ended:
        """Run a case in a folder of its own, and look at what it left."""
        from plateau_lens.cli import invoke

        shutil.rmtree(self.at, ignore_errors=True)
        self.at.mkdir()
        for name in case.copied:
            shutil.copytree(self.work / name, self.at / name)
        case.edit(self.at)
        mine = {name: content for name, content in MINE.items() if "run" in case.copied or "/" not in name}
        for name, content in (mine | case.files).items():
            path = self.at / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                path.write_bytes(content)
        before = _files(self.at)
        out, err = io.StringIO(), io.StringIO()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is of what comes
        began, since = _memory("VmRSS"), time.process_time()
        back = Path.cwd()
        os.chdir(self.at)
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                _no_longer_than(6 * SECONDS),
            ):
                status = invoke(case.command)
        except BaseException as error:  # nothing may come out of it, be it Ctrl-C
            if isinstance(error, KeyboardInterrupt):
                raise
            status, err = 99, io.StringIO(f"{type(error).__name__} came out: {error}")
        finally:
            os.chdir(back)
        seconds, memory = time.process_time() - since, max(0, _memory("VmHWM") - began)
        said = err.getvalue()
        wrong = list(self._wrong(case, status, said, seconds, memory, before, mine))
        return Ended(status, said, seconds, memory, wrong)

    def _wrong(
        self,
        case: Case,
        status: int,
        said: str,
        seconds: float,
        memory: int,
        before: set[str],
        mine: dict[str, bytes],
    ) -> Iterator[str]:
        if status not in (0, 1, 2):
            yield f"status {status}: {said[-1500:]}"
        elif "Traceback" in said:
            yield f"a traceback: {said[-1500:]}"
        elif status == 1 and said.count("plateau-lens: ") < 1:
            yield f"no message: {said!r}"
        elif status == 0 and "Traceback" in said:
            yield f"well, and yet: {said!r}"
        if seconds > SECONDS:
            yield f"{seconds:.1f} s"
        if memory > BYTES:
            yield f"{memory / 2**20:.0f} MB"
        for name, content in mine.items():
            path = self.at / name
            if path.is_dir() or not path.exists() or path.read_bytes() != content:
                yield f"{name}, the user's own, was touched"
        new = _files(self.at) - before
        began = (self.at / "out" / "manifest.json").exists()
        of_a_run = {
            name
            for name in new
            if name.split("/")[0] in (["run"] if "run" in case.copied else ["out"] if began else [])
        }
        left = {name for name in new - of_a_run} | {name for name in new if name.endswith(".tmp")}
        if status and left:
            yield f"left behind: {sorted(left)}"


def _files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()
    }


def _memory(which: str) -> int:
    """Of this process, in bytes."""
    found = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which)
    )
    return int(found.split()[1]) * 1024


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TimeoutError(f"not at its end after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_sort(where: Field, name: str, cases: int, *, start: int, tell: Callable[[Case, Ended], None]) -> None:
    """Draw cases of a sort and run them, the same ones for the same `start`."""
    _, make = SORTS[name]

    @seed(start)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(make(where.base))
    def every(case: Case) -> None:
        tell(case, where.try_out(case))

    every()


def count(where: Field, name: str, cases: int, *, start: int, show: bool) -> dict[str, Any]:
    """Run a sort's cases; print what is wrong, and return how many ended how."""
    ended: Counter[str] = Counter()
    longest, most = 0.0, 0

    def tell(case: Case, found: Ended) -> None:
        nonlocal longest, most
        longest, most = max(longest, found.seconds), max(most, found.memory)
        ended["wrong" if found.wrong else f"status {found.status}"] += 1
        if show:
            print(f"{found.status} {case!r:.300}\n    {found.said:.300}", flush=True)
        for line in found.wrong:
            print(f"--- {name}: {case!r:.600}\n    {line}", flush=True)

    try_sort(where, name, cases, start=start, tell=tell)
    row = {"cases": name, "tried": sum(ended.values()), **dict(sorted(ended.items()))}
    return {**row, "longest_seconds": round(longest, 2), "most_megabytes": round(most / 2**20)}


def main() -> None:
    """Run the cases and write down the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sorts", default=",".join(SORTS))
    parser.add_argument("--show", action="store_true", help="print every case, and what it said")
    parser.add_argument("--out", type=Path, help="write the counts here, as JSON")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work, Field(Path(work).resolve()) as where:
        for name in asked.sorts.split(","):
            cases = asked.cases * SORTS[name][0] // 100
            rows.append(count(where, name, cases, start=asked.seed, show=asked.show))
            print(rows[-1], flush=True)
    if asked.out:
        asked.out.write_text(json.dumps({"seed": asked.seed, "rows": rows}, indent=1) + "\n")
    sys.exit(any("wrong" in row for row in rows))


if __name__ == "__main__":
    main()
