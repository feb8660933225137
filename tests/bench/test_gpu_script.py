"""benchmarks/gpu.py is tried on the CPU, so that it runs at once where a GPU is."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_the_whole_paper_on_a_tiny_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    options = "--device cpu --tiny --pairs 3 --population 20 --unit-size 2 --d-sae 300 --repeats 1"
    monkeypatch.setattr("sys.argv", ["gpu.py", *options.split()])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    record = json.loads(capsys.readouterr().out)
    assert record["curves"] == 27
    assert record["seconds"].keys() == {"float32", "bfloat16"}
    assert record["met"] is None
    for runs in record["runs"].values():
        assert len(runs) == 1
        for run in runs:
            assert run["total"] >= run["population"] + run["kinds"] + run["curves"] > 0
