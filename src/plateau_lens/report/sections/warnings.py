"""What of a run is not as it should be, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from plateau_lens.report.render import Table
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import Section, section

OUTLIER = 100
"""Times the median base norm from which on a base is an outlier."""
MEANINGS = {
    "curve with a point that is not finite": "NaN or infinity in an activation or a logit. It has no step value.",
    "base and target coincide": "The path has no direction. The curve has no step value.",
    "constant curve": "The response is 0 at every step. MS and AP are censored; AUC and NL have no value.",
    "code without an active latent": "The activation is the decoder's bias. Shares and cosines of its latents are NaN.",
    f"base of {OUTLIER} times the median norm": "It is measured like any other; an absolute step is short beside it.",
    f"prompt of {OUTLIER} times the median norm": "Mean, covariance and all random targets are drawn to it.",
}
"""What is counted, and what comes of it."""
NOT_FINITE, COINCIDE, CONSTANT, EMPTY, LONG_BASE, LONG_PROMPT = MEANINGS


@section("warnings")
class Warnings(Section):
    """Curves, codes and activations that are not as they should be; nothing at all if there are none."""

    title = "Warnings"
    place = 15

    def __init__(self, data: RunData):
        super().__init__(data)
        self.found = Counter[tuple[str, str]]()
        for what, where, count in (*_of_curves(data), *_of_codes(data), *_of_population(data)):
            self.found[what, where] += count

    def tables(self) -> Sequence[Table]:
        """One row for each thing that was found, and where."""
        rows = [
            (what, where, str(count), MEANINGS[what])
            for (what, where), count in sorted(
                self.found.items(), key=lambda item: (list(MEANINGS).index(item[0][0]), item[0][1])
            )
            if count
        ]
        return (
            [Table(self.title, ("what", "where", "number", "what comes of it"), tuple(rows))] if rows else ()
        )


def _of_curves(data: RunData) -> Iterator[tuple[str, str, int]]:
    norms: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for block in data.folder.curve_blocks():
        frame = block.collect()
        for (experiment, kind), rows in frame.partition_by("experiment", "kind", as_dict=True).items():
            where = f"{experiment}, {kind}"
            distance = rows["distance"].to_numpy()
            yield COINCIDE, where, int((distance == 0).sum())
            if "base_norm" in rows.columns:
                norm = rows["base_norm"].cast(pl.Float64).to_numpy()
                norms.append(norm)
                places.append(np.full(len(norm), where))
            for response in data.responses:
                if response not in rows.columns or rows[response].null_count():
                    continue  # its paths are not measured by this one
                curves = rows[response].list.to_array(data.config.n_steps + 1).to_numpy()
                finite = np.isfinite(curves).all(axis=1)
                yield NOT_FINITE, f"{where}, {response}", int((~finite & (distance != 0)).sum())
                yield CONSTANT, f"{where}, {response}", int((finite & (curves == 0).all(axis=1)).sum())
    if norms:
        norm, place = np.concatenate(norms), np.concatenate(places)
        median = float(np.median(norm[np.isfinite(norm)])) if np.isfinite(norm).any() else float("nan")
        if median > 0:
            for where, count in Counter(place[norm >= OUTLIER * median].tolist()).items():
                yield LONG_BASE, where, count


def _of_codes(data: RunData) -> Iterator[tuple[str, str, int]]:
    if data.folder.has("codes"):
        codes = data.folder.codes()
        if "active" not in codes.columns:  # of a run whose kinds have no codes
            return
        empty = codes.filter(pl.col("active") == 0)
        for kind, count in empty["kind"].value_counts().iter_rows():
            yield EMPTY, kind, count


def _of_population(data: RunData) -> Iterator[tuple[str, str, int]]:
    yield LONG_PROMPT, "population", int(data.folder.manifest().get("population", {}).get("outliers", 0))
