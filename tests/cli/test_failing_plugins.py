"""A plugin that raises, exits or returns what it should not: exit status 1, and its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_lens.activations.registry import KINDS
from plateau_lens.cli import invoke
from plateau_lens.experiments.registry import EXPERIMENTS
from plateau_lens.report.sections.registry import SECTIONS
from plateau_lens.responses.registry import RESPONSES
from plateau_lens.steps.registry import STATISTICS

KIND = "from plateau_lens import kind\n\n@kind('mine')\ndef mine(block):\n    "
STATISTIC = (
    "from plateau_lens import Statistic, StepValues, statistic\nimport numpy as np\n\n@statistic('mine')\n"
    "class Mine(Statistic):\n    def of(self, curves):\n        "
)
RESPONSE = (
    "from plateau_lens import Response, response\n\n@response('mine')\nclass Mine(Response):\n"
    "    reads, least_slope = 'logits', 1e-3\n    def of(self, seen):\n        "
)
EXPERIMENT = (
    "from plateau_lens import Experiment, Paths, experiment\n\n@experiment('mine')\nclass Mine(Experiment):\n"
    "    def paths(self, drawn):\n        "
)
SECTION = (
    "from plateau_lens import Section, section\n\n@section('mine')\nclass Mine(Section):\n"
    "    def tables(self):\n        "
)
USES = {
    KIND: "kinds=[mine, random]",
    STATISTIC: "statistics={mine: {}}",
    RESPONSE: "responses=[l2, mine]",
    EXPERIMENT: "experiments=[mine]",
    SECTION: "pairs=3",
}


@pytest.fixture(autouse=True)
def registries_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (KINDS, STATISTICS, RESPONSES, EXPERIMENTS, SECTIONS):
        monkeypatch.setattr(registry, "_known", dict(registry.all()))


CASES = [
    *((sort, "raise ValueError('no luck')", "in line {line}, in ") for sort in USES),
    *((sort, "import sys; sys.exit(0)", "SystemExit: 0") for sort in USES),
    *((sort, "open('/nowhere/at/all')", "FileNotFoundError") for sort in (KIND, SECTION)),
    (KIND, "return None", "kind 'mine' returned NoneType"),
    (KIND, "return block.base.long()", "kind 'mine' returned torch.int64"),
    (STATISTIC, "return None", "statistic 'mine' returned NoneType"),
    (STATISTIC, "return StepValues(np.array(['a'] * len(curves)))", "could not convert string"),
    (RESPONSE, "return None", "response 'mine' returned NoneType"),
    (RESPONSE, "return seen", "response 'mine' returned shape"),
    (EXPERIMENT, "return None", "experiment 'mine' laid no paths"),
    (EXPERIMENT, "yield 'x'", "experiment 'mine' laid 'x', expected Paths"),
    (EXPERIMENT, "yield Paths('random', drawn.block.base, drawn.block.base[:1])", "whose target is of shape"),
    (SECTION, "return None", "section 'mine' of the plugin"),
    (SECTION, "return ['x']", "section 'mine' of the plugin"),
]


@pytest.mark.parametrize(("sort", "body", "said"), CASES, ids=[f"{USES[c[0]]}: {c[1]}" for c in CASES])
def test_it_is_the_plugins_fault(
    tiny_model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sort: str,
    body: str,
    said: str,
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(f"{sort}{body}\n")
    settings = {
        "model.source": tiny_model_folder,
        "prompts.source": "sampled",
        "prompts.population": 12,
        "prompts.n_ctx": 6,
        "sae": "null",
        "kinds": "[model-generated, random]",
        "experiments": "[toward]",
        "statistics": "{ms: {}}",
        "responses": "[l2]",
        "n_steps": 10,
        "plugins": f"[{plugin}]",
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    status = invoke(
        ["run", "smollm2-135m", "--pairs", "3", "--out", str(tmp_path / "run"), *options, "--set", USES[sort]]
    )
    err = capsys.readouterr().err
    assert status == 1, err
    line = len(f"{sort}{body}".splitlines())
    assert said.format(line=line) in err
    assert str(plugin) in err or "'mine'" in err
    assert "Traceback" not in err
