"""The fault injector on a few calls; all of them: `python scripts/fault_injection.py`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fault_injection.py"


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
def test_a_run_that_fails_or_is_killed_at_any_call_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    chosen = ["--scenarios", "new", "--every", "61", "--kills", "1", "--out", str(out)]
    done = subprocess.run([sys.executable, SCRIPT, *chosen], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["fault"]: row for row in json.loads(out.read_text())["rows"]}
    assert sum(row["tried"] for row in rows.values()) >= 9
    assert rows["killed before it"]["killed"] == rows["killed before it"]["tried"]
    assert rows["fails from then on (disk full)"]["status 1, one message"]
