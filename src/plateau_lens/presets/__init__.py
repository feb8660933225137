"""Ready-made configurations: one YAML file a preset in this folder."""

from __future__ import annotations

from importlib import resources
from typing import Any


def names() -> list[str]:
    """Names of the presets, the default first."""
    found = {
        entry.name.removesuffix(".yaml")
        for entry in resources.files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    }
    return [DEFAULT, *sorted(found - {DEFAULT})]


def read(name: str) -> dict[str, Any]:
    """The preset's table; raises FileNotFoundError for a name that is not in `names()`."""
    import yaml

    return yaml.safe_load(resources.files(__name__).joinpath(f"{name}.yaml").read_text())


def describe(name: str) -> str:
    """The preset's one-line description: the comment on its first line."""
    first = resources.files(__name__).joinpath(f"{name}.yaml").read_text().splitlines()[0]
    return first.removeprefix("#").strip()


DEFAULT = "smollm2-135m"
