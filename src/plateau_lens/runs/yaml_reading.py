"""YAML that somebody else may have written: read as plain values, or refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import yaml

from plateau_lens._errors import ConfigError

LONGEST = 1_000_000
"""Characters of one text."""
MOST_VALUES = 100_000
"""Values of one text, counted as often as aliases repeat them."""
DEEPEST = 40
"""Mappings and lists inside one another."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which in addition takes a key that stands twice for a mistake."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value if isinstance(key.value, str) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, what: str) -> Any:
    """The value that a YAML text stands for: nothing but mappings, lists, text, finite numbers, true, false and null.

    Args:
        text: the YAML.
        what: what it is, for messages.

    Raises:
        ConfigError: for what is no YAML, has a key twice, holds more than `MOST_VALUES` values once aliases are written
            out, or a value that Python cannot read.
    """
    if len(text) > LONGEST:
        raise ConfigError(
            f"{what} has {len(text):,} characters, more than the {LONGEST:,} that are read as YAML"
        )
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}, DEEPEST) > MOST_VALUES:
                raise ConfigError(
                    f"{what} holds more than {MOST_VALUES:,} values, counted as often as aliases repeat them"
                )
            return plain(loader.construct_document(node), what)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, OverflowError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{what} is not readable as YAML: {error}") from None
    except RecursionError:
        raise ConfigError(
            f"{what} is nested too deeply; at most {DEEPEST} mappings and lists stand inside one another"
        ) from None


def plain(value: Any, what: str, at: str = "", depth: int = DEEPEST) -> Any:
    """A copy of plain values, mappings as dicts.

    Raises:
        ConfigError: for a value of another sort, a number that is not finite, a key that is no text, or text with marks
            that command a terminal; each with its place.
    """
    where = f"{what}: {at}" if at else what
    if depth < 0:
        raise ConfigError(f"{where} is nested too deeply")
    if isinstance(value, Mapping):
        copy: dict[str, Any] = {}
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{where} has the key {key!r}, which is no text; write it in quotes")
            plain(key, what, f"{at}.{key}" if at else key)
            copy[key] = plain(inner, what, f"{at}.{key}" if at else key, depth - 1)
        return copy
    if isinstance(value, str):
        if not all(mark.isprintable() or mark in " \n\t" or ord(mark) > 0xA0 for mark in value):
            raise ConfigError(
                f"{where.encode('unicode_escape').decode()} holds control characters: {value!r}"
            )
        return value
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(inner, what, f"{at}[{place}]", depth - 1) for place, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}; a configuration has finite numbers alone")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(f"{where} is a whole number of more than 64 bits")
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ConfigError(f"{where} is a {type(value).__name__}; write it in quotes if it is text")


def _size(node: Any, known: dict[int, int], depth: int) -> int:
    """Values under a node, those of an alias again each time; a node that holds itself never ends."""
    if depth < 0:
        raise RecursionError
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # until it is counted: who meets it on the way down meets itself
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        known[id(node)] = 1 + sum(_size(part, known, depth - 1) for part in parts)
    return known[id(node)]
