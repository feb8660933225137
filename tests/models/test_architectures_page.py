"""The page of architectures says what the tests prove."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "document_architectures.py"


def test_the_page_is_made_from_the_table():
    script = runpy.run_path(str(SCRIPT))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), (
        "docs/architectures.md is stale: run `python scripts/document_architectures.py`"
    )
