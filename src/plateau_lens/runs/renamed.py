"""Keys of a configuration that have moved: how older files, run folders and command lines call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOVED = {
    "statistics.ap_threshold": "statistics.ap.threshold",
    "statistics.min_slope": "statistics.ms.min_slope",
    "statistics.equivalence_margin": "report.equivalence_margin",
    "statistics.cut_size": "cut_size",
    "examples": "experiments.examples",
}
"""Old key to new one; what was inside the old one is inside the new one."""
_WORDS = {"statistics.ms": "statistics.ms.convention", "statistics.auc": "statistics.auc.convention"}
"""Keys that were a word and are now a table, with that word in it."""
_PARENTS = ("statistics", "schedules_of", "examples")


def modern(key: str, value: Any) -> dict[str, Any]:
    """A dotted key and its value, by their names of today; several where the value was a table of several."""
    if key in _PARENTS and isinstance(value, Mapping):
        inside = {inner: modern(f"{key}.{inner}", given) for inner, given in value.items()}
        kept = {inner: value[inner] for inner, found in inside.items() if f"{key}.{inner}" in found}
        moved = {
            now: given for inner, found in inside.items() if inner not in kept for now, given in found.items()
        }
        return ({key: kept} if kept else {}) | moved
    if key in _WORDS and isinstance(value, str):
        return {_WORDS[key]: value}
    if key.startswith("schedules_of."):
        return {f"experiments.{key.removeprefix('schedules_of.')}.schedules": value}
    for before, now in _MOVED.items():
        if key == before or key.startswith(f"{before}."):
            return {now + key.removeprefix(before): value}
    return {key: value}


def take_moved(table: dict[str, Any]) -> dict[str, Any]:
    """Take keys that have moved out of a table; what they held comes back by dotted names of today."""
    moved: dict[str, Any] = {}
    for parent in _PARENTS:
        if isinstance(table.get(parent), Mapping):
            found = modern(parent, table.pop(parent))
            if parent in found:
                table[parent] = found.pop(parent)
            moved |= found
    return moved
