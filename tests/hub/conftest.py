"""The stand-in hub, and the command line run against it in a process and caches of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from repositories import (
    DATASET,
    MODEL,
    SAE_REPOSITORY,
    dataset_repository,
    model_repository,
    sae_repository,
    text_dataset_repository,
)
from stand_in_hub import Repository, StandInHub


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    return {
        MODEL: model_repository(tmp_path_factory.mktemp("gpt2")),
        SAE_REPOSITORY: sae_repository(),
        DATASET: dataset_repository(),
        "someone/texts": text_dataset_repository(),
    }


@pytest.fixture
def hub(repositories: dict[str, Repository]) -> Iterator[StandInHub]:
    """A hub of its own for each test, with every repository whole."""
    names = {DATASET, "someone/texts"}
    server = StandInHub(
        models={name: found for name, found in repositories.items() if name not in names},
        datasets={name: repositories[name] for name in names},
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a test's caches are."""
    return tmp_path / "home"


@pytest.fixture
def environment(hub: StandInHub, home: Path) -> dict[str, str]:
    """Environment of a process that knows no hub but the stand-in, and no cache but the test's."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and "proxy" not in key.lower()
    }
    return kept | {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "PLATEAU_LENS_CACHE": str(home / "plateau-lens"),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_ETAG_TIMEOUT": "2",
        "OMP_NUM_THREADS": "2",
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Callable[..., Outcome]:
    """`plateau-lens` with some arguments, in a process of its own."""

    def run(*arguments: str, **variables: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-c", "from plateau_lens.cli import main; main()", *arguments],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def probe(environment: dict[str, str]) -> Callable[..., list[Any]]:
    """Run steps of ``probe.py`` in one process; an entry a step."""

    def run(*steps: list[Any], **variables: str) -> list[Any]:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("probe.py"))],
            env=environment | variables,
            input=json.dumps(steps),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
