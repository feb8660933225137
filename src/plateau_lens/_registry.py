"""What describes itself: things that are found by name, made from parameters, and added to in one file.

Activation kinds, step statistics, responses, experiments and report sections are all kept this way. Each sort has a
folder; every module of it is imported when the sort is first looked at, so that a new file is a new member and no list
names it. A user's plugin registers in the same way.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from plateau_lens._errors import ConfigError, nearest

LAST = 1000
"""Place of what does not say where it is shown: behind all that does."""


class Member:
    """One of its sort, found by name."""

    sort: ClassVar[str] = ""
    """What it is one of, e.g. ``statistic``."""
    name: ClassVar[str] = ""
    """What it is registered and asked for as."""
    place: ClassVar[int] = LAST
    """Where among others of its sort it is shown; equal places by name."""


class Described(Member, BaseModel):
    """One thing that describes itself. Fields are its parameters, class variables what is known of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


D = TypeVar("D", bound=Member)
C = TypeVar("C", bound=type[Member])


class Registry(Generic[D]):
    """All things of one sort, by name.

    Args:
        sort: what one of them is called, e.g. ``statistic``; also the key of a table by which a label says what it is.
        folder: the package whose modules register those that come with the library.
    """

    def __init__(self, sort: str, folder: str):
        self.sort, self.folder = sort, folder
        self._known: dict[str, type[D]] = {}
        self._complete = False

    def add(self, name: str) -> Callable[[C], C]:
        """Register a class under ``name``: a decorator. The last one of a name stands."""

        def register(made: C) -> C:
            made.sort, made.name = self.sort, name
            self._known[name] = made  # pyright: ignore[reportArgumentType]
            return made

        return register

    def all(self) -> Mapping[str, type[D]]:
        """Everything that is registered, in the order in which it is shown."""
        if not self._complete:
            self._complete = True
            found = dict(self._known)
            for module in pkgutil.iter_modules(import_module(self.folder).__path__):
                import_module(f"{self.folder}.{module.name}")
            self._known |= found  # what a plugin gave a built-in's name, before this, stands
        return dict(sorted(self._known.items(), key=lambda item: (item[1].place, item[0])))

    def unknown(self, name: object) -> str:
        """What is said of a name that nothing is registered under."""
        known = self.all()
        return (
            f"unknown {self.sort} {name!r}{nearest(str(name), known)} (legal: {', '.join(sorted(known))}); one of "
            "your own needs its plugin: plugins in a configuration, --plugin FILE where a finished run is read"
        )

    def make(self, table: Mapping[str, Mapping[str, Any]], *, of: str = "") -> dict[str, D]:
        """Make what a configuration lists: label to parameters, a label that is not itself a name saying which.

        Args:
            table: ``{label: {"<sort>": name, parameter: value, ...}}``; without that key, the label is the name.
            of: key of the table in the configuration, for messages.

        Raises:
            ConfigError: naming every unknown name or parameter, with the nearest legal one.
        """
        known = self.all()
        made: dict[str, D] = {}
        wrong: list[str] = []
        for label, parameters in table.items():
            name = self.name_of(label, table)
            if name not in known:
                wrong.append(self.unknown(name))
                continue
            kind: Any = known[name]
            given = {key: value for key, value in parameters.items() if key != self.sort}
            try:
                made[label] = kind.model_validate(given)
            except ValidationError as error:
                wrong += _explained(error, f"{of}.{label}" if of else label, list(kind.model_fields))
        if wrong:
            raise ConfigError(f"{of or self.sort} cannot be made:\n  " + "\n  ".join(wrong))
        return made

    def name_of(self, label: str, table: Mapping[str, Mapping[str, Any]]) -> str:
        """The registered name of what a table has under a label."""
        return str(table.get(label, {}).get(self.sort, label))


def written_out(made: Mapping[str, Described]) -> dict[str, dict[str, Any]]:
    """As the table that `Registry.make` makes the same of: every parameter, defaults too, and each label's name."""
    return {label: {each.sort: each.name, **each.model_dump(mode="json")} for label, each in made.items()}


def _explained(error: ValidationError, where: str, legal: list[str]) -> list[str]:
    lines: list[str] = []
    for item in error.errors():
        key = ".".join(map(str, item["loc"]))
        hint = nearest(key, legal) if item["type"] == "extra_forbidden" else ""
        message = item["msg"].removeprefix("Value error, ")
        at = f"{where}.{key}" if key else where
        lines.append(f"{at}: {message}{hint} (parameters: {', '.join(legal) or 'none'})")
    return lines
