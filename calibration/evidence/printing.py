"""A report as text: a table for the terminal, Markdown for a pull request, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from calibration.evidence import sentences

STATISTICS = ("accuracy", "kappa", "weighted_kappa", "alpha", "ac1", "human_alpha")
INTERVAL_STATISTICS = ("alpha", "lin", "pearson", "mae", "bias", "human_alpha")
NONE = "–"
# A cell that begins so would be run as a formula by a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def statistics_of(document: dict[str, Any]) -> tuple[str, ...]:
    """What the signal's scale has."""
    if document["scale"] == "interval":
        return INTERVAL_STATISTICS
    if document["scale"] in ("binary", "ordinal"):
        return STATISTICS
    return tuple(name for name in STATISTICS if name != "weighted_kappa")


def table(document: dict[str, Any]) -> str:
    """Columns aligned with spaces, after the sentence and the citation."""
    lines = _aligned(*_grid(document))
    return "\n".join([document["sentence"], citation(document), "", *lines, *_footer(document)])


def plan(document: dict[str, Any]) -> str:
    """Labels still needed, a line a slice."""
    name = document["statistic"]
    header = ["slice", "n", sentences.statistic_name(name), "verdict", "further labels", "for a verdict", "next round"]
    rows = [
        [
            sentences.slice_name(row["slice"]),
            str(row["n"]),
            number(row[name]),
            row["verdict"],
            sentences.reason(row["reason"]) if row["further"] is None else f"{row['further']:,}",
            NONE if row["labels_for_verdict"] is None else sentences.labels(row["labels_for_verdict"]),
            f"{row['next_round']:,}",
        ]
        for row in document["rows"]
    ]
    title = (
        f"{document['classifier']}@{document['version']} on {document['dataset']}: "
        f"{sentences.statistic_name(name)} ± {document['half_width']:g} needs {document['further']:,} further labels"
    )
    if document["random"]:
        title += f"; drawn at random it would take {document['random']:,}"
    return "\n".join([title, *_settling(document), "", *_aligned(header, rows)])


def _settling(document: dict[str, Any]) -> list[str]:
    """What the open verdicts take, and what random labels would."""
    found = document["settling"]
    if not found["aimed"]:
        return []
    return [
        f"{found['open']} of {found['slices']} slices have no verdict yet: about {found['aimed']:,} labels where they are "
        f"open ({found['ratio']:.0%} of the {found['random']:,} random ones that would bring them there); "
        f"the next round takes {found['next_round']:,}"
    ]


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, ["-" * width for width in widths], *rows)
    ]


def markdown(document: dict[str, Any]) -> str:
    header, rows = _grid(document)
    lines = [header, ["---"] * len(header), *rows]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    title = f"### {document['classifier']} against {document['dataset']}"
    return "\n".join([title, "", document["sentence"], "", citation(document), "", *body, *_footer(document)])


def as_csv(document: dict[str, Any]) -> str:
    """One line a slice; every statistic with its limits and, where it has none, the reason."""
    names = statistics_of(document)
    columns = [f"{name}{part}" for name in names for part in ("", "_low", "_high", "_reason")]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fixed = ["dataset", "sha256", "classifier", "version", *document["by"], "n", "effective_n", "missing_predictions"]
    writer.writerow([*fixed, *columns, "pooled", "pooled_weight", "verdict", "reason", "labels_needed"])
    for row in document["rows"]:
        head = [document["dataset"], document["sha256"], document["classifier"], row["version"]]
        slices = [row["slice"].get(name, "") for name in document["by"]]
        values = [row[name].get(part, "") for name in names for part in ("value", "low", "high", "reason")]
        drawn = row.get("pooled") or {}  # reports kept by earlier methods have none
        tail = [drawn.get("value"), drawn.get("weight"), row["verdict"], row["reason"], row["labels_needed"]]
        cells = [*head, *slices, row["n"], row["effective_n"], row["missing_predictions"], *values, *tail]
        writer.writerow([_safe(cell) for cell in cells])
    return out.getvalue()


def rows_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of plain values that share their names."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(list(rows[0]) if rows else [])
    for row in rows:
        writer.writerow([_safe(cell) for cell in row.values()])
    return out.getvalue()


def _safe(cell: Any) -> Any:
    if cell is None:
        return ""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def citation(document: dict[str, Any]) -> str:
    """What the numbers rest on, on one line."""
    bar, gold = document["bar"], document["gold"]
    parts = [
        f"{sentences.statistic_name(bar['statistic'])} at least {bar['at_least']:.2f}",
        f"{document['dataset']} ({gold['items']:,} items, {gold['aggregation']}) sha256 {document['sha256'][:12]}",
        f"{document['confidence']:.0%} intervals".replace("%", " %"),
    ]
    if document["by"]:
        slices = slice_count(document)
        parts.append(f"Benjamini-Hochberg over {slices} slices" if slices > 1 else "one slice")
    return " · ".join([*parts, *beyond(document)])


def beyond(document: dict[str, Any]) -> list[str]:
    """Of how many slices the report has the largest, where it has not all."""
    left_out = document.get("slices_left_out", 0)
    return [f"the largest {slice_count(document):,} of {slice_count(document) + left_out:,} slices"] if left_out else []


def slice_count(document: dict[str, Any]) -> int:
    """Slices other than the whole, of one version."""
    return len({tuple(row["slice"].items()) for row in document["rows"] if row["slice"]})


def number(found: dict[str, Any]) -> str:
    """`0.66 [0.58, 0.73]`, or a dash."""
    if found["value"] is None:
        return NONE
    if "low" not in found:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} [{found['low']:.2f}, {found['high']:.2f}]"


def _grid(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    names = statistics_of(document)
    header = ["version", "slice", "n", *(sentences.statistic_name(name) for name in names), "verdict", "labels needed"]
    rows = [
        [
            row["version"],
            sentences.slice_name(row["slice"]),
            str(row["n"]),
            *(number(row[name]) for name in names),
            row["verdict"] if row["reason"] != sentences.THIN else f"{row['verdict']} (too few)",
            NONE if row["labels_needed"] is None else sentences.labels(row["labels_needed"]),
        ]
        for row in document["rows"]
    ]
    return header, rows


def _footer(document: dict[str, Any]) -> Sequence[str]:
    lines = []
    worst = document["worst"]
    if worst is not None:
        name = sentences.slice_name(worst["slice"])
        found = number(worst[worst["statistic"]])
        lines += [
            "",
            f"worst slice: {name} ({worst['version']}): {sentences.statistic_name(worst['statistic'])} {found}",
        ]
    lacking = [f"{n:,} of {version}" for version, n in document["missing_by_version"].items() if n]
    if lacking:
        failed = document["failed_predictions"]
        tail = f"; {failed:,} answers failed" if failed else ""
        lines += ["", f"gold units without a usable prediction: {', '.join(lacking)}{tail}"]
    return lines
