"""Trends and movements as pages and files lay them out: charts with their downloads, gaps, failed answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from calibration import slices
from calibration.evidence import charts, printing
from calibration.evidence.charts import Spec
from calibration.moves import attribution, move_words

Figure = tuple[Callable[[dict[str, str]], Spec], list[dict[str, Any]]]
"""A chart for any colours, and its rows."""
TONES = {
    "real gap": "untrusted",
    "classifier noise": "unproven",
    "no gap": "trusted",
    "not enough evidence": "unproven",
}
CSV, SVG, PNG = "text/csv; charset=utf-8", "image/svg+xml", "image/png"


def figures(document: dict[str, Any], shaded: Sequence[tuple[str, str]] = ()) -> dict[str, Figure]:
    """name → figure: `0`, `1`, ... for the series, `csat`, `csat-1`, ... for the verified outcomes of the whole and its slices."""
    found = {str(number): _series(document, one, shaded) for number, one in enumerate(document["series"])}
    return found | {name: _outcome(one) for name, one in _named(document)}


def _named(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Verified outcomes by the names of their figures: that of a slice has its number among the series."""
    places = [series["slice"] for series in document["series"]]
    return [
        (f"{one['kind']}-{places.index(one['slice'])}" if one["slice"] else one["kind"], one)
        for one in document["outcomes"]
    ]


def _series(document: dict[str, Any], series: dict[str, Any], shaded: Sequence[tuple[str, str]]) -> Figure:
    share = document["value"] != attribution.MEAN
    title = document["measure"] if not series["slice"] else f"{document['measure']}, {slices.words(series['slice'])}"

    def make(colours: dict[str, str]) -> Spec:
        return charts.trend(
            series["points"],
            boundaries=document["versions"],
            title=title,
            share=share,
            shaded=shaded,
            colours=colours,
        )

    rows = [_flat(point) for point in series["points"]]
    return make, rows


def _outcome(outcome: dict[str, Any]) -> Figure:
    points = outcome["points"]

    def make(colours: dict[str, str]) -> Spec:
        return charts.outcome(points, title=outcome["measure"], colours=colours)

    return make, [dict(point) for point in points]


def _flat(point: dict[str, Any]) -> dict[str, Any]:
    """A point as one row of a file."""
    corrected = point["corrected"]
    rest = {name: value for name, value in point.items() if name != "corrected"}
    return rest | {f"corrected_{name}": corrected.get(name) for name in ("value", "low", "high", "reason")}


def file(figure: Figure, kind: str) -> tuple[str | bytes, str] | None:
    """A figure as (content, media type); None for a kind that there is not."""
    make, rows = figure
    if kind == "csv":
        return printing.rows_csv(rows), CSV
    if kind == "svg":
        return charts.svg(make(charts.LIGHT)), SVG
    if kind == "png":
        return charts.png(make(charts.LIGHT)), PNG
    return None


def pictures(document: dict[str, Any], found: dict[str, Figure], query: dict[str, str]) -> list[dict[str, Any]]:
    """Every series with its chart, name, and the address of its files."""
    return [
        series | charts.on_page(found[str(number)][0]) | {
            "label": f"{document['measure']} per {document['period']} {' '.join(series['slice'].values())}".strip(),
            "exports": "?" + urlencode(query | {"figure": str(number)}),
        }
        for number, series in enumerate(document["series"])
    ]  # fmt: skip


def outcomes(document: dict[str, Any], found: dict[str, Figure], query: dict[str, str]) -> list[dict[str, Any]]:
    """Every verified outcome with its chart and the address of its files."""
    return [
        one | {
            "name": name,
            "picture": charts.on_page(found[name][0]),
            "exports": "?" + urlencode(query | {"figure": name}),
        }
        for name, one in _named(document)
    ]  # fmt: skip


def gap_rows(document: dict[str, Any], *, share: bool) -> list[dict[str, Any]]:
    """Gaps as a table, what is real first."""
    order = list(TONES)
    rows = sorted(document["gaps"]["rows"], key=lambda row: (order.index(row["word"]), -abs(row["raw"])))
    return [
        row
        | {
            "name": slices.words(row["slice"]),
            "tone": TONES[row["word"]],
            "raw_told": move_words.change(row["raw"], share),
            "told": move_words.change(row["corrected"].get("value"), share),
            "limits": f"{move_words.change(row['corrected'].get('low'), share)} to "
            f"{move_words.change(row['corrected'].get('high'), share)}",
        }
        for row in rows
    ]


def failure_table(document: dict[str, Any]) -> dict[str, Any] | None:
    """Failed answers by channel and cohort; None where nothing was asked."""
    failures = document["failures"]
    if not failures["whole"]["n"]:
        return None
    cells = {(row["slice"]["channel"], row["slice"]["cohort"]): row for row in failures["rows"]}
    channels, cohorts = (sorted({key[at] for key in cells}) for at in (0, 1))
    lines = [{"name": name, "cells": [(cohort, cells.get((name, cohort))) for cohort in cohorts]} for name in channels]
    return {
        "columns": cohorts,
        "lines": lines,
        "several": len(channels) > 1,
        "none": not failures["whole"]["failed"],
    }


def parts_csv(found: dict[str, Any]) -> str:
    """The parts of a movement as a file: all conversations first, then each slice."""
    rows = []
    for part, parts in [({}, found["parts"]), *((one["slice"], one["parts"]) for one in found["slices"])]:
        rows += [
            {"slice": slices.words(part), "part": name}
            | {key: value.get(key) for key in ("value", "low", "high", "reason")}
            for name, value in parts.items()
        ]
    return printing.rows_csv(rows)
