"""CONTRIBUTING's recipes are the files of examples/, and each runs from a whole run to table, caption and page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from plateau_lens import RunFolder
from plateau_lens.cli import invoke

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_the_recipes_are_the_examples() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    found = {block.splitlines()[0].removeprefix("# examples/"): block for block in blocks}
    assert sorted(found) == [path.name for path in EXAMPLES]
    for path in EXAMPLES:
        assert found[path.name] == f"# examples/{path.name}\n{path.read_text()}", path.name


class Text(HTMLParser):
    """What a reader of the page sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs).get("alt") or "")


@pytest.fixture(scope="module")
def run_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run with all of them, as a user would start it: in a process that knows nothing of plugins."""
    out = tmp_path_factory.mktemp("recipes") / "run"
    settings = {
        "model.source": tiny_model_folder,
        "prompts": "{source: sampled, n_ctx: 6, population: 60}",
        "sae": "null",
        "n_steps": 20,
        "kinds": "[model-generated, random, halfway]",
        "responses": "[l2, top-logit]",
        "statistics.half-height": "{}",
        "experiments": "[toward, home, examples]",
        "plugins": "[" + ", ".join(map(str, EXAMPLES)) + "]",
    }
    command = [sys.executable, "-c", "from plateau_lens.cli import main; main()", "run", "--pairs", "12"]
    command += ["--out", str(out)]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return RunFolder(out)


@pytest.fixture(scope="module")
def page(run_folder: RunFolder) -> Text:
    return Text((run_folder.path / "report.html").read_text())


def shown(page: Text) -> str:
    return " ".join(" ".join(page.words).split())


def test_a_statistic_with_half_steps_is_in_table_caption_and_page(run_folder: RunFolder, page: Text) -> None:
    steps = run_folder.steps().filter(statistic="half-height")
    assert ((steps["value"] % 1) == 0.5).any()
    frame = pl.read_csv(run_folder.path / "tables" / "summary.csv").filter(statistic="half-height")
    row = frame.filter(experiment="toward", response="l2", schedule="relative", kind="random").row(
        0, named=True
    )
    mine = steps.filter(experiment="toward", response="l2", schedule="relative", kind="random")["value"]
    assert row["mean"] == pytest.approx(mine.mean())
    assert "half-height" in pl.read_csv(run_folder.path / "tables" / "differences.csv")["statistic"]
    table = (run_folder.path / "tables" / "toward-half-height.md").read_text()
    assert "# Toward: HH step (half height)" in table
    assert "HH step (half height): Half a step before the first step" in table
    captions = (run_folder.path / "figures" / "captions.md").read_text()
    assert "**figure-toward-half-height-l2** (HH step of L2)." in captions
    assert "HH step (half height): Half a step before the first step" in captions
    assert "Toward: HH step of L2, relative schedule" in shown(page)
    assert any("HH step of L2" in text for text in page.pictures)


def test_a_response_is_in_table_caption_and_page(run_folder: RunFolder, page: Text) -> None:
    curves = run_folder.curves(experiment="toward", kind="random", schedule="relative")
    assert (curves["top-logit"].list.get(0) == 0).all()
    assert (curves["top-logit"].list.max() > 0).all()
    assert (
        "Toward: MS step of TL, relative schedule"
        in (run_folder.path / "tables" / "toward-ms.md").read_text()
    )
    captions = (run_folder.path / "figures" / "captions.md").read_text()
    assert "L2 (left) and TL (right) of single paths" in captions
    assert "Response : Movement of the largest logit." in shown(page)
    assert "largest logit, moved by" in (run_folder.path / "report.html").read_text(), (
        "an axis of the explorer"
    )


def test_an_experiment_is_in_table_caption_and_page(run_folder: RunFolder, page: Text) -> None:
    activations = next(run_folder.activations())
    assert {"base.home.random", "base.home.halfway"} <= set(activations)
    # Home is where each path ends: the distance is that of the kind's activation to the pair's own.
    curves = run_folder.curves(experiment="home", kind="random", schedule="relative")
    apart = activations["base.home.random"] - activations["base"]
    assert curves["distance"].to_list()[: len(apart)] == pytest.approx(
        (apart**2).sum(axis=1) ** 0.5, rel=1e-4
    )
    table = (run_folder.path / "tables" / "home-ms.md").read_text()
    assert (
        "Home: From a base of each kind, put into a real prompt, back to the prompt's own activation."
        in table
    )
    captions = (run_folder.path / "figures" / "captions.md").read_text()
    assert "**figure-home-half-height-l2**" in captions
    assert "Home: MS step of L2, relative schedule" in shown(page)


def test_a_section_is_in_table_and_page(run_folder: RunFolder, page: Text) -> None:
    assert (
        "| halfway | HH step of L2, absolute schedule | 0.0 % |"
        in (run_folder.path / "tables" / "censoring.md").read_text()
    )
    assert "Who is censored" in shown(page)
    assert 'id="censoring"' in (run_folder.path / "report.html").read_text()


def test_a_kind_is_half_way(run_folder: RunFolder) -> None:
    blocks = list(run_folder.activations())
    real, halfway = (blocks[0][f"target.toward.{kind}"] for kind in ("model-generated", "halfway"))
    assert halfway == pytest.approx((blocks[0]["base"] + real) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("plugin", "name"),
    [
        ("half_height.py", "statistic 'half-height'"),
        ("top_logit.py", "response 'top-logit'"),
        ("home.py", "experiment 'home'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(run_folder: RunFolder, plugin: str, name: str) -> None:
    others = [str(path) for path in EXAMPLES if path.name != plugin]
    done = report_elsewhere(run_folder.path, others)
    assert done.returncode == 1
    assert f"was made with the {name}, which is not known here: pass --plugin FILE" in done.stderr
    assert plugin in done.stderr


def test_what_is_named_again_is_known(run_folder: RunFolder, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run_folder.path, tmp_path / "copy"))
    done = report_elsewhere(copy, list(map(str, EXAMPLES)))
    assert done.returncode == 0, done.stderr


def report_elsewhere(run: Path, plugins: list[str]) -> subprocess.CompletedProcess[str]:
    """``report`` in a process that knows nothing of plugins but those that are named."""
    command = [part for each in plugins for part in ("--plugin", each)]
    code = "from plateau_lens.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "report", str(run), *command],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_finished_run_takes_up_a_statistic_and_records_its_plugin(
    run_folder: RunFolder, tmp_path: Path
) -> None:
    copy = RunFolder(Path(shutil.copytree(run_folder.path, tmp_path / "copy")))
    plugin = tmp_path / "last_height.py"
    plugin.write_text(
        "import numpy as np\nfrom plateau_lens import Curves, Statistic, StepValues, statistic\n"
        "@statistic('last-height')\nclass LastHeight(Statistic):\n"
        "    'Response at the end, less 3.'\n    unit = 'units'\n    symbol = 'LH'\n"
        "    def of(self, curves):\n        return StepValues(curves.d[np.arange(len(curves)), curves.ends] - 3)\n"
    )
    known = [part for path in (*EXAMPLES, plugin) for part in ("--plugin", str(path))]
    assert invoke(["measure", str(copy.path), *known, "--set", "statistics.last-height={}"]) == 0
    frame = pl.read_csv(copy.path / "tables" / "summary.csv").filter(statistic="last-height", response="l2")
    row = frame.filter(experiment="toward", schedule="relative", kind="random").row(0, named=True)
    ends = (
        copy.curves(experiment="toward", kind="random", schedule="relative")["l2"].list.last().to_numpy() - 3
    )
    assert row["mean"] == pytest.approx(ends.mean(), rel=1e-5)
    assert row["median"] == pytest.approx(float(sorted(ends)[len(ends) // 2]), abs=1.0)
    assert "Values in units" in (copy.path / "tables" / "toward-last-height.md").read_text()
    assert str(plugin) in copy.config().plugins
    assert copy.manifest()["plugins"][str(plugin)]["sha256"]
