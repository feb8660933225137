from __future__ import annotations

from typing import Any

import pytest

from plateau_lens.bench.record import bench


@pytest.fixture(scope="session")
def quick_record() -> dict[str, Any]:
    """One quick benchmark of the tiny random GPT-2."""
    return bench(quick=True)
