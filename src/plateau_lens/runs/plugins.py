"""Users' own modules, imported so that what they register is known."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from plateau_lens._digest import sha256
from plateau_lens._errors import ConfigError


def load_plugins(names: Sequence[str]) -> None:
    """Import each module name or ``.py`` file.

    Raises:
        ConfigError: for one that does not exist or fails to import.
    """
    for name in names:
        try:
            if name.endswith(".py"):
                path = Path(name)
                spec = importlib.util.spec_from_file_location(f"plateau_lens_plugin_{path.stem}", path)
                if spec is None or spec.loader is None or not path.is_file():
                    raise FileNotFoundError(f"no file {name}")
                spec.loader.exec_module(importlib.util.module_from_spec(spec))
            else:
                importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}; "
                "plugins are .py files or importable modules"
            ) from error


def digests(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the manifest records of plugin files: their sha256."""
    return {name: {"sha256": sha256(Path(name))} for name in names if name.endswith(".py")}
