"""Keep other libraries' progress bars, loggers and warnings out of a user's terminal, and put them back."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quiet() -> Generator[None]:
    """Silence transformers' bars and warnings, and the hub client's, inside the block; restore them behind it.

    `sae_lens` and `transformer_lens` change warning filters and logger levels when they are imported: those
    are put back too.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    hub_verbosity = hub_logging.get_verbosity()
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    root_level = logging.getLogger().level
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        logging.getLogger().setLevel(root_level)
