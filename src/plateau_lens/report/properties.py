"""What describes an activation and its code: the columns of ``codes/``, as tables and figures call them."""

from __future__ import annotations

from typing import NamedTuple


class Property(NamedTuple):
    """One thing that describes an activation or its code."""

    column: str
    label: str
    """On the axis, with its unit."""
    heading: str
    """Over a column of a table."""
    digits: int


PROPERTIES = (
    Property("active", "active latents", "active latents", 1),
    Property("top_share", "share of the top latent (0 to 1)", "top share", 3),
    Property("top_cosine", "mean decoder cosine to the top latent", "top cosine", 3),
    Property("log10_frequency", "mean log10 firing frequency", "log10 frequency", 2),
    Property("norm", "norm (residual-stream units)", "norm", 1),
    Property("distance", "distance to the base (same units)", "distance to base", 1),
)
