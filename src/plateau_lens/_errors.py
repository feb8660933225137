"""The few kinds of mistake a user can make, each told in one message: what, found, legal, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PlateauLensError(Exception):
    """Base of every error that is the user's to mend; the command line prints it and exits with 1."""


class ConfigError(PlateauLensError):
    """A key, a value or a combination of them that no run can use."""


class ResourceError(PlateauLensError):
    """A model, SAE, prompt source or network that is missing, broken or of the wrong shape."""


class RunFolderError(PlateauLensError):
    """A run folder that cannot be written, is not a run, or belongs to another experiment."""


class DamageError(RunFolderError):
    """A file of a run that is gone, or not as it was written; says what is lost, and the command that mends it."""


class EngineError(PlateauLensError):
    """A model that the engine cannot drive, or an intervention that did not fire as often as it should."""


def nearest(found: str, legal: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the legal name closest to ``found``, or an empty string."""
    match = difflib.get_close_matches(found, list(legal), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
