"""A report as a page lays it out: heat map, forest, confusion, versions. Plain structures from a document; no numbers are made here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from calibration.evidence import charts, comparing, printing, reports, sentences

Row = dict[str, Any]
MOST_COLUMNS = 8
WIDE, NARROW = 180, 130
SOON = 1000
"""As many labels as one would draw at once to settle a slice."""


def page(document: dict[str, Any], *, version: str, address: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the report page shows of one version. `address` is the classifier's page, `query` picks the report."""
    rows = [row for row in document["rows"] if row["version"] == version]
    links = _Links(address, dict(query))
    statistic = document["bar"]["statistic"]
    worst = weakest(rows, statistic)
    return {
        "worst": worst and _linked(worst, links, statistic),
        "clauses": sentences.clauses(document, version),
        "citation": citation(document),
        "statistic": statistic,
        "bar": document["bar"]["at_least"],
        "axis_low": axis_low(rows, statistic),
        "whole": next(row for row in rows if not row["slice"]),
        "heat": heat(document, rows, links),
        "forest": [_linked(row, links, statistic) for row in telling(rows)],
        "confusion": confusion(next(row for row in rows if not row["slice"]), links),
        "versions": versions(document, links),
        "settle": settle(document, rows),
        "statistics": printing.statistics_of(document),
    }


def answered(document: dict[str, Any], asked: str | None) -> tuple[dict[str, Any], str]:
    """The report without versions that answered nothing, and the version to show: the one asked for, else the newest."""
    wholes = {row["version"]: row["n"] for row in document["rows"] if not row["slice"]}
    known = [name for name, n in wholes.items() if n] or list(wholes)[-1:]
    version = asked or known[-1]
    rows = [row for row in document["rows"] if row["version"] in (*known, version)]
    told = {"rows": rows, "worst": reports.worst(rows, version, document["bar"]["statistic"])}
    return document | told | {"sentence": sentences.report(document | {"rows": rows}, version)}, version


def comparable(document: dict[str, Any], version: str) -> list[str]:
    """Versions to compare this one with, the newest first."""
    names = list(dict.fromkeys(row["version"] for row in document["rows"]))
    return [name for name in reversed(names) if name != version]


def citation(document: dict[str, Any]) -> list[str]:
    """What the page's numbers rest on, in parts."""
    bar, gold = document["bar"], document["gold"]
    parts = [
        f"{sentences.statistic_name(bar['statistic'])} at least {bar['at_least']:.2f}",
        f"{gold['items']:,} gold units from {gold['labels']:,} labels ({gold['aggregation']})",
        f"{100 * document['confidence']:.0f} % intervals",
    ]
    slices = printing.slice_count(document)
    if slices:
        parts.append(f"Benjamini–Hochberg over {slices} slices" if slices > 1 else "one slice")
    if gold["unresolved"]:
        parts.append(f"{gold['unresolved']:,} units left open by people")
    return [*parts, *printing.beyond(document)]


def axis_low(rows: Sequence[Row], statistic: str) -> float:
    """Where the glyphs' axis begins: 0.2, or lower where a value with enough labels lies lower."""
    values = [row[statistic]["value"] for row in rows if row[statistic]["value"] is not None and not thin(row)]
    least = min(values, default=0.2)
    return max(min(math.floor(least * 5) / 5, 0.2), -0.6)


def telling(rows: Sequence[Row]) -> list[Row]:
    """Without slices of a dimension that has one value only: they repeat the wider slice."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row["slice"].items():
            values.setdefault(name, set()).add(value)
    single = {name for name, found in values.items() if len(found) < 2}
    return [row for row in rows if not single & set(row["slice"])]


def thin(row: Row) -> bool:
    """Too few labels for a verdict: the page says how many more, and shows no number that looks like one."""
    return row["reason"] in (sentences.THIN, "no_items")


def pooled(row: Row) -> Row | None:
    """What a thin slice most likely is worth, seen beside its neighbours; reports of earlier methods do not have it."""
    found: Row = row.get("pooled") or {}
    return found if thin(row) and found.get("value") is not None and found["weight"] < 1 else None


def heat(document: dict[str, Any], rows: Sequence[Row], links: _Links) -> dict[str, Any] | None:
    """Two dimensions crossed, n in every cell; None where there are not two with several values each."""
    names = document["by"][:2]
    if len(names) < 2:
        return None
    values = [_values(rows, name) for name in names]
    if min(len(column) for column in values) < 2:
        return None
    across, down = (1, 0) if len(values[1]) <= max(len(values[0]), 6) else (0, 1)
    if len(values[across]) > MOST_COLUMNS:
        return None
    found = {tuple(sorted(row["slice"].items())): row for row in rows if set(row["slice"]) == set(names)}
    lines = []
    for value in values[down]:
        crossed = [tuple(sorted({names[down]: value, names[across]: other}.items())) for other in values[across]]
        cells = [_linked(found[key], links, document["bar"]["statistic"]) if key in found else None for key in crossed]
        lines.append({"name": value, "cells": cells})
    width = WIDE if len(values[across]) <= 4 else NARROW
    return {"columns": values[across], "lines": lines, "width": width, "down": names[down], "across": names[across]}


def _values(rows: Sequence[Row], name: str) -> list[str]:
    """A dimension's values, those with most labels first."""
    alone = [row for row in rows if set(row["slice"]) == {name}]
    return [row["slice"][name] for row in sorted(alone, key=lambda row: -row["n"])]


def _linked(row: Row, links: _Links, statistic: str) -> Row:
    """A row with what its cell shows and where it leads."""
    return row | {"shown": row[statistic], "thin": thin(row), "pooled": pooled(row), "items": links.items(row["slice"])}


def confusion(row: Row, links: _Links) -> dict[str, Any] | None:
    """The matrix with shares of each line as a wash of colour, and the recall beside it."""
    if row["confusion"] is None or "matrix" not in row["confusion"] or not row["n"]:
        return None
    labels, lines = row["confusion"]["labels"], []
    for i, gold in enumerate(labels):
        counts = row["confusion"]["matrix"][i]
        total = sum(counts) or 1
        cells = [
            {
                "n": n,
                "right": i == j,
                # Squeezed, so that a rare error is still seen; the number carries the meaning.
                "wash": round(100 * math.sqrt(n / total)) if n else 0,
                "items": links.items({}, gold=gold, predicted=labels[j]) if n else "",
                "said": labels[j],
            }
            for j, n in enumerate(counts)
        ]
        lines.append({"gold": gold, "cells": cells, "category": row["per_category"][i]})
    return {"labels": labels, "lines": lines}


def weakest(rows: Sequence[Row], statistic: str) -> Row | None:
    """The slice with the lowest value among those with labels enough for a verdict."""
    firm = [row for row in rows if row["slice"] and row[statistic]["value"] is not None and not thin(row)]
    return min(firm, key=lambda row: row[statistic]["value"], default=None)


def versions(document: dict[str, Any], links: _Links) -> list[dict[str, Any]]:
    """Each version's whole and its worst slice, newest first."""
    statistic, made = document["bar"]["statistic"], []
    for name in dict.fromkeys(row["version"] for row in document["rows"]):
        rows = [row for row in document["rows"] if row["version"] == name]
        worst = weakest(rows, statistic)
        whole = next(row for row in rows if not row["slice"])
        made.append(
            {
                "version": name,
                "row": _linked(whole, links, statistic),
                "worst": worst and _linked(worst, links, statistic),
                "address": links.version(name),
            }
        )
    return made[::-1]


def settle(document: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any] | None:
    """The page's first action: what labels would settle soon; one dimension before two, and what the sentence names before thin slices."""
    unproven = [row for row in rows if row["verdict"] == "unproven" and row["labels_needed"]]
    soon = [row for row in unproven if row["labels_needed"] <= SOON]
    if not soon:
        return None
    row = min(soon, key=lambda row: (len(row["slice"]) != 1, row["reason"] == sentences.THIN, row["labels_needed"]))
    where = sentences.slice_name(row["slice"]) if row["slice"] else ""
    address = draw_address(document["signal"], row["labels_needed"], row["slice"])
    return {"size": row["labels_needed"], "where": where, "address": address}


def draw_address(signal: str, size: int, one: Mapping[str, str]) -> str:
    """The form of a new queue, filled with what would settle a slice."""
    names = {name: value for name, value in one.items() if name in ("channel", "cohort")}
    attributes = ",".join(f"{name}={value}" for name, value in one.items() if name not in names)
    query = {"signal": signal, "size": str(size)} | names | ({"attribute": attributes} if attributes else {})
    return f"/queues/new/?{urlencode(query)}"


def forest_chart(document: dict[str, Any], version: str) -> charts.Spec:
    """The slices of one version as one picture."""
    statistic, made = document["bar"]["statistic"], []
    for row in document["rows"]:
        found = row[statistic]
        if row["version"] == version and found["value"] is not None:
            limits = {"value": found["value"], "low": found["low"], "high": found["high"]}
            name = f"{sentences.slice_name(row['slice'])} ({row['n']:,})"
            made.append({"name": name, "verdict": row["verdict"], "people": row["human_alpha"]["value"]} | limits)
    title = f"{document['classifier']}@{version} against {document['dataset']}"
    spelled = sentences.statistic_name(statistic)
    return charts.forest(made, bar=document["bar"]["at_least"], title=title, statistic=f"{title}: {spelled}")


def comparison(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Slices × statistics of two versions, with a word for each difference."""
    lines = []
    for row in document["rows"]:
        cells = []
        for name in document["statistics"]:
            word = comparing.improvement(name, row[name]["difference"])
            cells.append({"name": name, "word": word, **row[name]})
        lines.append(row | {"cells": cells})
    return lines


def flips(document: dict[str, Any], address: str, query: dict[str, str]) -> dict[str, Any]:
    """Where the conversations are whose answer changed: of each slice, and of each change of answer."""
    links = _Links(address, query)
    changed = [
        change | {"address": links.items({}, gold=change["gold"], was=change["a"], predicted=change["b"])}
        for change in document["changed"]
    ]
    rows = [row | {"address": links.items(row["slice"])} for row in document["rows"]]
    return {"rows": rows, "changed": changed}


class _Links:
    """Addresses of the conversations behind a number."""

    def __init__(self, address: str, query: dict[str, str]) -> None:
        self.address, self.query = address, query

    def version(self, name: str) -> str:
        return f"{self.address}?{urlencode(self.query | {'version': name})}"

    def items(self, one: Mapping[str, str], **more: str) -> str:
        slices = {name if name in ("channel", "cohort") else f"in.{name}": value for name, value in one.items()}
        return f"{self.address}items/?{urlencode(self.query | slices | more)}"
