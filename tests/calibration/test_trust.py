"""The glyph: shapes tell the verdicts apart without colour, places are the numbers', words say the same."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from calibration.templatetags import trust


def row(verdict: str = "trusted", **kw: Any) -> dict[str, Any]:
    base = {"verdict": verdict, "kappa": {"value": 0.75, "low": 0.7, "high": 0.8}, "human_alpha": {"value": 0.9}}
    return base | kw


def drawn(given: dict[str, Any], low: float = 0.0, width: int = 110) -> ElementTree.Element:
    return ElementTree.fromstring(trust.glyph(given, "kappa", 0.6, low, width))


def by_class(svg: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(element for element in svg if element.get("class") == name)


def test_places_are_the_numbers() -> None:
    """An axis of 100 from 0 to 1, with a margin of 5."""
    svg = drawn(row())
    assert float(by_class(svg, "bar").get("x1", "")) == 65
    assert [float(by_class(svg, "interval").get(x, "")) for x in ("x1", "x2")] == [75, 85]
    assert float(by_class(svg, "point").get("cx", "")) == 80
    assert by_class(svg, "people").get("points", "").startswith("95.0,")


@pytest.mark.parametrize(("verdict", "tag"), [("trusted", "circle"), ("untrusted", "polygon"), ("unproven", "circle")])
def test_shapes_differ(verdict: str, tag: str) -> None:
    shape = drawn(row(verdict))[-1]
    assert shape.tag == tag
    assert shape.get("class") == ("ring" if verdict == "unproven" else "point")
    assert f"{verdict}: kappa 0.75, between 0.70 and 0.80; the bar is 0.60" in trust.glyph(row(verdict), "kappa", 0.6)


def test_what_lies_beyond_the_axis_is_drawn_at_its_end() -> None:
    svg = drawn(row(kappa={"value": -0.4, "low": -0.9, "high": 0.1}), low=0.2)
    assert {float(by_class(svg, "interval").get(x, "")) for x in ("x1", "x2")} == {5}


def test_an_undefined_statistic_draws_nothing_and_says_why() -> None:
    none = row("unproven", kappa={"value": None, "reason": "one_category"}, human_alpha={"value": None, "reason": "x"})
    assert trust.glyph(none, "kappa", 0.6) == ""
    assert "only one category occurs" in trust.in_words(none, "kappa", 0.6)


def test_numbers_are_written_for_people() -> None:
    assert (trust.two(-0.123), trust.two(None)) == ("−0.12", "–")
    assert trust.limits({"low": 0.5, "high": 0.75}) == "0.50–0.75"
    assert trust.limits({"low": -0.1, "high": 0.2}) == "−0.10 to 0.20"
    assert trust.limits({"value": None}) == ""
    assert (trust.needed(0), trust.needed(41), trust.needed(5000), trust.needed(None)) == (
        "enough", "41", "over 5,000", "–",
    )  # fmt: skip
    assert trust.signed(-0.05) == "−0.05" and trust.signed(0.05) == "+0.05"
    assert trust.percent(0.876) == "88 %" and trust.plus_minus({"low": 0.1, "high": 0.2}) == "±.05"


def test_names_cannot_break_out_of_the_drawing() -> None:
    svg = trust.glyph(row(), "kappa", 0.6)
    assert not re.search(r"<script", svg)
    assert "&lt;b&gt;" in trust.estimate_title({"x": {"value": None, "reason": "<b>"}}, "x")
