"""``plateau-lens check`` on a folder: a model that is unlike the others, and one that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plateau_lens.cli import invoke
from plateau_lens.responses.registry import RESPONSES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_proves_itself_on_latent_attention_and_experts(
    dtype: str, make_tiny_model: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    make_tiny_model("deepseek_v3").save_pretrained(tmp_path)
    capfd.readouterr()
    assert invoke(["check", str(tmp_path), "--site", "blocks.2.hook_resid_pre", "--dtype", dtype]) == 0
    printed = capfd.readouterr().out
    assert "DeepseekV3ForCausalLM: blocks.2.hook_resid_pre to blocks.3.hook_resid_post" in " ".join(
        printed.split()
    )
    assert "FAILED" not in printed
    # What was proved: a row when the engine was made, and one for the prompts and paths of the check.
    _, _, proved = printed.partition("Proved when the engine was made")
    title = " ".join(proved.partition("┏")[0].split())
    assert f"on cpu, model in {dtype}, pushed at blocks.2.hook_resid_pre" in title
    cells = [
        [cell.strip() for cell in row.strip("│").split("│")] for row in proved.splitlines() if "<=" in row
    ]
    assert [row[:4] for row in cells] == [["8", "3", "2", dtype], ["10", "21", "4", dtype]]
    for error, limit in (cell.split(" <= ") for row in cells for cell in row[4:]):
        assert 0 <= float(error) <= float(limit) < 0.01
        # In float32 no two orders of one sum agree to the last digit: an error of 0 would compare a pass with itself.
        assert dtype == "float64" or float(error) > 0
    # Every response that is known here against the full pass, and four checks of the engine.
    assert printed.count(" ok ") == len(RESPONSES.all()) + 4


def test_says_why_a_model_is_refused(
    make_tiny_model: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    make_tiny_model("lfm2").save_pretrained(tmp_path)
    capfd.readouterr()
    assert invoke(["check", str(tmp_path)]) == 1
    printed = " ".join(capfd.readouterr().err.split())
    assert "Lfm2ForCausalLM cannot be driven" in printed
    assert "blocks 0, 2 keep a running state" in printed
    assert "Traceback" not in printed
