"""A report needs no model: it must load neither torch nor what loads torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from plateau_lens.runs.folder import RunFolder

SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
from plateau_lens.cli.claims import claims_command
from plateau_lens.runs.folder import RunFolder
from plateau_lens.report import page
from plateau_lens.report.sections.registry import SECTIONS
SECTIONS.all()
from plateau_lens.report.build import build_report
from plateau_lens.cli.summary import print_summary
{extra}
folder = RunFolder.open(Path({path!r}))
build_report(folder, only_tables=True)
print_summary(folder, Console())
claims_command(folder.path)
loaded = sorted({{"torch", "transformers", "sae_lens"}} & set(sys.modules))
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""


def run(folder: RunFolder, extra: str = "") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(extra=extra, path=str(folder.path))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_report_loads_no_torch(cliffs: RunFolder) -> None:
    done = run(cliffs)
    assert done.returncode == 0, done.stderr


def test_the_check_above_can_fail(cliffs: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "sae_lens.py").write_text("")
    done = run(cliffs, extra=f"sys.path.insert(0, {str(tmp_path)!r})\nimport sae_lens")
    assert done.returncode == 1
    assert "loaded ['sae_lens']" in done.stderr
