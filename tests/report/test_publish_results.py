"""What scripts/publish_results.py puts into docs/: every colour, no path of a machine, not much."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image
from synthetic_runs import write_hills

from plateau_lens.report.build import build_report
from plateau_lens.report.figures.style import kind_styles

KINDS = ("random", "synthetic-structured")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "publish_results.py"
    spec = importlib.util.spec_from_file_location("publish_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("publish") / "run"
    folder = write_hills(
        path,
        pairs=3,
        experiments=("from",),
        schedules=("absolute",),
        responses=("l2",),
        kinds=KINDS,
        overrides={"model": {"source": "/home/somebody/models/small"}},
    )
    build_report(folder)
    manifest = {**folder.manifest(), "plugins": {"/home/somebody/mine.py": "0" * 64}}
    folder.write_manifest({**manifest, "request": {"prompts": [r"C:\texts\a.txt", "dataset:owner/name"]}})
    return path


def has(image: np.ndarray, colour: str) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(image.astype(int) - wanted).max(axis=-1) <= 6).any())


def test_published_pictures_keep_their_colours_and_are_small(
    script: ModuleType, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "docs" / "run"
    out.mkdir(parents=True)
    (out / "old.png").write_text("of an earlier run")
    script.main([str(run), str(out)])
    assert not (out / "old.png").exists()
    pictures = sorted((out / "figures").glob("*.png"))
    assert [path.name for path in pictures] == [path.name for path in sorted((run / "figures").glob("*.png"))]
    assert script.palettes(out) == []
    for path in pictures:
        assert path.read_bytes()[25] == 2, "a PNG's colour type: 2 is full colour"
    with Image.open(out / "figures" / "figure-3.png") as image:
        assert image.width == 966
        pixels = np.asarray(image)
    styles = kind_styles(KINDS)
    assert all(has(pixels, styles[kind].colour) for kind in KINDS)
    assert sum(path.stat().st_size for path in pictures) < script.MOST
    assert (out / "figures" / "captions.md").read_text() == (run / "figures" / "captions.md").read_text()
    assert {path.suffix for path in (out / "tables").iterdir()} == {".md", ".csv"}


def test_no_path_of_a_machine_is_published(script: ModuleType, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    script.main([str(run), str(out)])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["plugins"] == {"mine.py": "0" * 64}
    assert manifest["request"] == {"prompts": ["a.txt", "dataset:owner/name"]}
    assert "sha256" not in manifest, "its own checksum, of what stood there before"
    config, whole = (yaml.safe_load((path / "config.yaml").read_text()) for path in (out, run))
    assert config["model"].pop("source") == "small"
    assert whole["model"].pop("source") == "/home/somebody/models/small"
    assert config == whole


def test_too_much_is_refused_and_leaves_what_was_there(
    script: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    script.main([str(run), str(out)])
    before = sorted(path.name for path in out.rglob("*"))
    monkeypatch.setattr(script, "MOST", 1000)
    with pytest.raises(SystemExit, match=r"come to [\d,]+ bytes, more than 1,000"):
        script.main([str(run), str(out)])
    with pytest.raises(SystemExit, match="has no figures: plateau-lens report"):
        script.main([str(tmp_path / "nowhere"), str(out)])
    assert sorted(path.name for path in out.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_check_names_pictures_with_a_palette(script: ModuleType, tmp_path: Path) -> None:
    full = Image.new("RGB", (8, 8), "#2166AC")
    full.save(tmp_path / "full.png")
    script.main(["--check", str(tmp_path)])
    (tmp_path / "deep").mkdir()
    full.quantize(4).save(tmp_path / "deep" / "few.png")
    with pytest.raises(SystemExit, match=r"pictures with a palette: .*few\.png$"):
        script.main(["--check", str(tmp_path)])


def test_no_picture_of_the_documentation_has_a_palette(script: ModuleType) -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert list(docs.rglob("*.png"))
    script.main(["--check", str(docs)])
