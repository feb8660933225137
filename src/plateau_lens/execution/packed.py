"""Paths of unlike lengths in passes of like ones, so that next to no point is computed that nobody looks at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens.models.parallel import Prefix
from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.responses.registry import Responses

Lay = Callable[[Tensor, int], Float[Tensor, "path step d_model"]]
"""The first so many points of some paths."""


def respond_along(
    engine: SuffixEngine,
    prefix: Prefix,
    lay: Lay,
    n_points: Int[np.ndarray, " path"],
    responses: Responses,
    *,
    width: int,
) -> dict[str, Float[np.ndarray, "path step"]]:
    """Responses to the first ``n_points`` of every path, relative to its point 0; NaN behind them.

    The longest paths come first, as many at once as a pass takes.

    Args:
        engine: what measures them.
        prefix: of some pairs; path ``i`` is of pair ``i`` modulo their number.
        lay: makes the points of some paths, when their turn comes.
        n_points: of each path, 1..width.
        responses: as of `SuffixEngine.respond`.
        width: points of a curve.

    Returns:
        float32 by name or label.
    """
    order = np.argsort(-n_points, kind="stable")
    rows_a_pass = engine.rows_a_pass(prefix.n_ctx)
    found: dict[str, np.ndarray] = {}
    start = 0
    while start < len(order):
        most = int(n_points[order[start]])
        paths = order[start : start + max(1, rows_a_pass // most)]
        start += len(paths)
        which = torch.from_numpy(paths)
        part = engine.respond(prefix.rows(which % len(prefix)), lay(which, most), responses)
        behind = np.arange(most) >= n_points[paths][:, None]
        for name, values in part.items():
            curves = found.setdefault(name, np.full((len(order), width), np.nan, dtype=np.float32))
            # What another path of the pass was computed for is not this one's.
            curves[paths, :most] = np.where(behind, np.nan, values.float().cpu().numpy())
    return found
