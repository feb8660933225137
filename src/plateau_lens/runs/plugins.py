"""Users' own modules, imported so that what they register is known."""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from plateau_lens._digest import sha256
from plateau_lens._errors import ConfigError, PlateauLensError
from plateau_lens._registry import Member

_loaded: set[str] = set()
"""Names of the modules that plugins are."""


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
                _loaded.add(spec.name)
                spec.loader.exec_module(importlib.util.module_from_spec(spec))
            else:
                _loaded.add(name)
                importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}; "
                "plugins are .py files or importable modules"
            ) from error


def blame(error: BaseException) -> str | None:
    """What is said of an error that went through a plugin's code; None for one that did not.

    A plugin that calls the library may meet a defect of the library, too; its author is who can tell.
    """
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__") in _loaded:
            return (
                f"the plugin {frame.f_code.co_filename} failed in line {line}, in {frame.f_code.co_name}: "
                f"{type(error).__name__}: {error}; mend it, and run the same command again"
            )
    return None


@contextmanager
def answering(member: Member) -> Generator[None]:
    """Inside, what goes wrong is for a plugin to answer if the member that is asked came from one.

    Raises:
        ConfigError: in place of any other error, then.
    """
    try:
        yield
    except PlateauLensError:
        raise
    except Exception as error:
        if type(member).__module__ not in _loaded:
            raise
        raise ConfigError(
            blame(error)
            or f"{member.sort} {member.name!r} of the plugin {type(member).__module__} gave what cannot be used: "
            f"{type(error).__name__}: {error}"
        ) from error


def digests(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the manifest records of plugin files: their sha256."""
    return {name: {"sha256": sha256(Path(name))} for name in names if name.endswith(".py")}
