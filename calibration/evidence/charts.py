"""Report → chart: Vega-Lite specifications, drawn to SVG and PNG on the server, so that no browser code is needed.

A page gets the drawing and the specification: where scripts run, `charts.js` puts the same chart in the drawing's place,
with the numbers under the pointer and an axis that can be moved.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import vl_convert
from django.core.cache import cache

Spec = dict[str, Any]
FONT = "Inter, ui-sans-serif, system-ui, sans-serif"
# The page's colours; a drawing cannot read the page's variables when it is saved as a file.
LIGHT = {
    "ink": "#1b1b1a", "soft": "#575754", "line": "#e4e2da", "accent": "#2f4fd0", "paper": "#fcfbf7",
    "trusted": "#0f7058", "unproven": "#7c5c0a", "untrusted": "#b0330f",
}  # fmt: skip
PAGE = {name: f"var(--{name})" for name in LIGHT}
"""The page's own variables: one drawing on a page follows its theme."""
PADDING = {"left": 5, "top": 20, "right": 5, "bottom": 5}
"""Room above a chart for the names of versions."""
KEPT_FOR = 24 * 3600
SHAPES = {"trusted": "circle", "untrusted": "triangle-up", "unproven": "stroke"}


def svg(spec: Spec) -> str:
    """The drawing as SVG markup, for a page or a file."""
    return str(vl_convert.vegalite_to_svg(json.dumps(spec)))


def inline(spec: Spec) -> str:
    """The drawing for a page, which gives it its own name and a table: without the roles of its single marks.

    Drawing takes a hundred milliseconds, so it is kept: the same specification is the same drawing.
    """
    key = f"chart:{hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()}"
    drawn: str | None = cache.get(key)
    if drawn is None:
        drawn = re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", svg(spec))
        cache.set(key, drawn, KEPT_FOR)
    return drawn


def on_page(make: Callable[[dict[str, str]], Spec]) -> dict[str, Any]:
    """What a page shows of a chart: its drawing, and the specification that its script brings to life."""
    spec = make(PAGE)
    return {"drawing": inline(spec), "spec": interactive(spec)}


def interactive(spec: Spec) -> Spec:
    """The chart with an axis of time that can be dragged, and zoomed with Shift and the wheel; a double click resets it."""
    window = {"name": "window", "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"}}
    layers, bound = [], False
    for layer in spec["layer"]:
        if layer.get("data", {}).get("values", True) == []:
            continue
        over_time = layer["encoding"].get("x", {}).get("type") == "temporal"
        kind = layer["mark"]["type"]
        layer = layer | ({"mark": layer["mark"] | {"clip": kind != "text"}} if over_time else {})
        if over_time and kind == "line" and not bound:
            layer, bound = layer | {"params": [window | {"bind": "scales"}]}, True
        layers.append(layer)
    return spec | {
        "layer": layers,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": PADDING,
    }


def png(spec: Spec, scale: float = 2.0) -> bytes:
    return bytes(vl_convert.vegalite_to_png(json.dumps(spec), scale=scale))


def over_time(
    rows: Sequence[dict[str, Any]],
    *,
    bar: float,
    boundaries: Sequence[tuple[date, str]],
    flags: Sequence[tuple[date, str]] = (),
    title: str,
    colours: dict[str, str] | None = None,
    width: int = 520,
) -> Spec:
    """A line with its band for each version, broken where another takes over; the bar dotted; flags as triangles."""
    c = colours or LIGHT
    data = [row | {"start": row["start"].isoformat()} for row in rows]
    # The last mark may be a flag of today: room for all of it.
    x = {
        "field": "start",
        "type": "temporal",
        "title": None,
        "scale": {"padding": 8},
        "axis": {"format": "%-d %b", "tickCount": 6},
    }
    lows = [row["low"] for row in rows if row["low"] is not None] + [bar]
    y_scale = {"domain": [max(min(lows), -0.2) - 0.02, 1.0], "zero": False, "clamp": True}
    y = {"type": "quantitative", "title": None, "scale": y_scale, "axis": {"tickCount": 5, "format": ".1f"}}
    detail = {"field": "version", "type": "nominal"}
    marked = [{"start": start.isoformat(), "version": f"@{version}", "top": 1.0} for start, version in boundaries]
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "opacity": 0.16, "color": c["accent"]},
            "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "detail": detail},
        },
        {
            "mark": {"type": "rule", "strokeDash": [2, 3], "color": c["soft"]},
            "data": {"values": [{"bar": bar}]},
            "encoding": {"y": y | {"field": "bar"}},
        },
        {
            "mark": {"type": "line", "color": c["accent"], "strokeWidth": 1.8, "point": {"size": 22, "filled": True, "color": c["accent"]}},
            "encoding": {
                "x": x, "y": y | {"field": "value"}, "detail": detail,
                "tooltip": _told(("start", "from", "%-d %B %Y"), ("version", "version", None), ("value", title, ".2f"),
                                 ("low", "at least", ".2f"), ("high", "at most", ".2f"), ("n", "labels", ",d")),
            },
        },
        {
            "mark": {"type": "rule", "color": c["soft"]},
            "data": {"values": marked[1:]},
            "encoding": {"x": x},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 4, "dy": -8, "fontWeight": 600, "fontSize": 11, "color": c["ink"]},
            "data": {"values": marked},
            "encoding": {"x": x, "y": y | {"field": "top"}, "text": {"field": "version"}},
        },
    ]  # fmt: skip
    if flags:
        layers.append(_flag_layer(flags, x, y, c, y_scale))
    return _frame(layers, data, c, title, width, 220)


def _flag_layer(
    flags: Sequence[tuple[date, str]], x: Spec, y: Spec, c: dict[str, str], y_scale: dict[str, Any]
) -> Spec:
    values = [{"start": day.isoformat(), "at": y_scale["domain"][0] + 0.04} for day, _ in flags]
    return {
        "mark": {"type": "point", "shape": "triangle-up", "filled": True, "size": 90, "opacity": 1, "color": c["untrusted"]},
        "data": {"values": values},
        "encoding": {"x": x, "y": y | {"field": "at"}},
    }  # fmt: skip


def forest(
    rows: Sequence[dict[str, Any]], *, bar: float, title: str, statistic: str, colours: dict[str, str] | None = None
) -> Spec:
    """Slices with their intervals, the bar dotted, people as diamonds: the report as one picture."""
    c = colours or LIGHT
    order = [row["name"] for row in rows]
    y = {"field": "name", "type": "nominal", "sort": order, "title": None, "axis": {"labelLimit": 260, "ticks": False}}
    axis = {"format": ".1f", "tickCount": 6}
    x = {"type": "quantitative", "title": statistic, "scale": {"domain": [-0.2, 1], "clamp": True}, "axis": axis}
    verdicts = list(SHAPES)
    colour = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": verdicts, "range": [c[word] for word in verdicts]},
        "legend": {"title": None, "orient": "bottom"},
    }
    shape = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": verdicts, "range": ["circle", "triangle-up", "square"]},
        "legend": {"title": None, "orient": "bottom"},
    }
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.55},
            "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y, "color": colour},
        },
        {
            "mark": {"type": "rule", "strokeDash": [2, 3], "color": c["soft"]},
            "data": {"values": [{"bar": bar}]},
            "encoding": {"x": x | {"field": "bar"}},
        },
        {
            "mark": {"type": "point", "shape": "diamond", "size": 90, "color": c["soft"], "filled": False},
            "encoding": {"x": x | {"field": "people"}, "y": y},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {"x": x | {"field": "value"}, "y": y, "color": colour, "shape": shape},
        },
    ]
    return _frame(layers, list(rows), c, title, 520, {"step": 26})


def _series(points: Sequence[dict[str, Any]], boundaries: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """One row a period and version, as the layers of a trend name their fields; none begins before its version did."""
    since: dict[str, str] = {}
    for one in boundaries:
        since.setdefault(one["version"], one["since"])
    return [
        {name: point[name] for name in ("version", "raw", "n", "labels")}
        | {"start": max(point["start"], since.get(point["version"], ""))}
        | {name: point["corrected"].get(name) for name in ("value", "low", "high")}
        for point in points
    ]


def _domain(data: Sequence[dict[str, Any]], share: bool) -> list[float]:
    """From the lowest to the highest end of a band, with room; a share stays within 0 and 1."""
    ends = [row[name] for row in data for name in ("raw", "low", "high") if row[name] is not None]
    room = (max(ends, default=1.0) - min(ends, default=0.0)) * 0.12 or 0.05
    low, high = min(ends, default=0.0) - room, max(ends, default=1.0) + room
    return [max(low, 0.0), min(high, 1.0)] if share else [low, high]


def trend(
    points: Sequence[dict[str, Any]],
    *,
    boundaries: Sequence[dict[str, str]],
    title: str,
    share: bool,
    colours: dict[str, str] | None = None,
    width: int = 1040,
    shaded: Sequence[tuple[str, str]] = (),
) -> Spec:
    """As scored (dotted) and corrected (line with its band), a series for each version; compared periods are shaded."""
    c = colours or LIGHT
    data = _series(points, boundaries)
    form = ".1%" if share else ".2f"
    domain = _domain(data, share)
    scale = {"domain": domain, "zero": False, "clamp": True, "nice": False}
    x = {"field": "start", "type": "temporal", "title": None, "axis": {"format": "%-d %b", "tickCount": 8}}
    y = {
        "type": "quantitative",
        "title": None,
        "scale": scale,
        "axis": {"tickCount": 5, "format": ".0%" if share else ".2f"},
    }
    detail = {"field": "version", "type": "nominal"}
    marked = [{"start": one["since"], "version": f"@{one['version']}", "top": domain[1]} for one in boundaries]
    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "color": c["line"], "opacity": 0.35},
            "data": {"values": [{"start": first, "end": last} for first, last in shaded]},
            "encoding": {"x": x, "x2": {"field": "end"}},
        },
        {
            "mark": {"type": "area", "opacity": 0.18, "color": c["accent"]},
            "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "detail": detail},
        },
        {
            "mark": {"type": "line", "strokeDash": [2, 3], "color": c["soft"], "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y | {"field": "raw"}, "detail": detail},
        },
        {
            "mark": {"type": "line", "color": c["accent"], "strokeWidth": 2.2, "point": {"size": 28, "filled": True, "color": c["accent"]}},
            "encoding": {
                "x": x, "y": y | {"field": "value"}, "detail": detail,
                "tooltip": _told(("start", "from", "%-d %B %Y"), ("version", "version", None), ("raw", "as scored", form),
                                 ("value", "corrected", form), ("low", "at least", form), ("high", "at most", form),
                                 ("n", "scored", ",d"), ("labels", "labels", ",d")),
            },
        },
        {
            "mark": {"type": "rule", "color": c["ink"]},
            "data": {"values": marked[1:]},
            "encoding": {"x": x},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 5, "dy": -7, "fontWeight": 600, "fontSize": 11, "color": c["ink"]},
            "data": {"values": marked},
            "encoding": {"x": x, "y": y | {"field": "top"}, "text": {"field": "version"}},
        },
    ]  # fmt: skip
    return _frame(layers if shaded else layers[1:], data, c, title, width, 230)


def outcome(
    points: Sequence[dict[str, Any]], *, title: str, colours: dict[str, str] | None = None, width: int = 1040
) -> Spec:
    """Verified outcomes under a trend, with their interval."""
    c = colours or LIGHT
    x = {"field": "start", "type": "temporal", "title": None, "axis": {"format": "%-d %b", "tickCount": 8}}
    y = {"type": "quantitative", "title": None, "scale": {"zero": False}, "axis": {"tickCount": 4, "format": ".0%"}}
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "opacity": 0.16, "color": c["trusted"]},
            "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {
                "type": "line",
                "color": c["trusted"],
                "strokeWidth": 1.8,
                "point": {"size": 22, "filled": True, "color": c["trusted"]},
            },
            "encoding": {
                "x": x,
                "y": y | {"field": "value"},
                "tooltip": _told(
                    ("start", "from", "%-d %B %Y"),
                    ("value", title, ".1%"),
                    ("low", "at least", ".1%"),
                    ("high", "at most", ".1%"),
                    ("n", "answers", ",d"),
                ),
            },
        },
    ]
    return _frame(layers, list(points), c, title, width, 120)


def _told(*fields: tuple[str, str, str | None]) -> list[Spec]:
    """What the pointer is told of a mark: field, name, format."""
    return [
        {
            "field": name,
            "title": title,
            "type": "temporal" if name == "start" else "quantitative" if shape else "nominal",
        }
        | ({"format": shape} if shape else {})
        for name, title, shape in fields
    ]


def _frame(
    layers: list[Spec], data: list[dict[str, Any]], c: dict[str, str], title: str, width: int, height: Any
) -> Spec:
    axis = {
        "domain": False,
        "gridColor": c["line"],
        "labelColor": c["soft"],
        "tickColor": c["line"],
        "labelFontSize": 11,
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "width": width,
        "height": height,
        "background": None,
        "data": {"values": data},
        "layer": layers,
        "config": {
            "font": FONT,
            "axis": axis | {"titleColor": c["soft"], "titleFontWeight": "normal"},
            "axisX": {"grid": False},
            "view": {"stroke": None},
            "legend": {"labelColor": c["ink"], "labelFontSize": 12},
        },
    }
