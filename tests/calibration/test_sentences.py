"""The sentence says where to trust, what would settle the rest, and never lets a good mean hide a bad slice."""

from __future__ import annotations

from typing import Any

import pytest

from calibration.evidence import sentences


def row(slice_: dict[str, str], verdict: str, needed: int | None = 0, reason: str = "", **kw: Any) -> dict[str, Any]:
    found = {"value": 0.7, "low": 0.65, "high": 0.75}
    reasons = {"trusted": "clears_bar", "untrusted": "below_bar", "unproven": "spans_bar"}
    base = {"version": "v1", "slice": slice_, "n": 100, "verdict": verdict, "labels_needed": needed}
    return base | {"reason": reason or reasons[verdict], "kappa": found} | kw


def document(*rows: dict[str, Any], by: tuple[str, ...] = ("channel",)) -> dict[str, Any]:
    return {"by": list(by), "rows": list(rows), "bar": {"statistic": "kappa", "at_least": 0.6}}


WHOLE = row({}, "trusted")


def on(channel: str, verdict: str, needed: int | None = 0, reason: str = "") -> dict[str, Any]:
    return row({"channel": channel}, verdict, needed, reason)


def both(channel: str, cohort: str, verdict: str) -> dict[str, Any]:
    return row({"channel": channel, "cohort": cohort}, verdict)


def test_many_slices_are_four_names_and_a_number() -> None:
    rows = [row({"cohort": f"c{number}"}, "unproven") for number in range(5)]
    assert sentences.places(rows[:2]) == "for c0 and c1 customers"
    assert sentences.places(rows) == "for c0, c1, c2, c3 and 1 more customers"
    mixed = [on("chat", "unproven"), *rows]
    assert sentences.places(mixed[:5]).endswith("for c2 customers and 1 more slice")
    assert sentences.places(mixed).endswith("for c2 customers and 2 more slices")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([on("chat", "trusted"), on("email", "trusted")], "Trusted on every channel."),
        (
            [on("chat", "trusted"), on("email", "trusted"), on("voice", "unproven", 41)],
            "Trusted on chat and email; unproven on voice: 41 more labels would settle it.",
        ),
        (
            [on("chat", "trusted"), on("app", "unproven", 1), on("voice", "unproven", 41)],
            "Trusted on chat; unproven on app and voice: 42 more labels would settle them.",
        ),
        (
            [on("chat", "trusted"), on("voice", "unproven", 1)],
            "Trusted on chat; unproven on voice: 1 more label would settle it.",
        ),
        (
            [on("chat", "trusted"), on("voice", "unproven", 5000)],
            "Trusted on chat; unproven on voice: too close to the bar, more than 5,000 labels would be needed to settle it.",
        ),
        (
            [
                on("app", "unproven", 162),
                on("chat", "unproven", 4),
                on("ticket", "unproven", 5000),
                on("voice", "trusted"),
            ],
            "Trusted on voice; unproven on app, chat and ticket: 166 more labels would settle it on app and chat; on ticket it takes more than 5,000.",
        ),
        ([on("chat", "trusted"), on("voice", "unproven", None)], "Trusted on chat; unproven on voice."),
        (
            [on("chat", "trusted"), on("ticket", "unproven", 16, "too_few_items"), on("voice", "untrusted")],
            "Trusted on chat; too few labels on ticket for a verdict: 16 more would do; untrusted on voice.",
        ),
        ([on("chat", "untrusted"), on("voice", "untrusted")], "Untrusted on every channel."),
        (
            [on(name, "trusted") for name in "abcdef"] + [on("z", "untrusted")],
            "Trusted on a, b, c, d and 2 more; untrusted on z.",
        ),
    ],
)
def test_channels(rows: list[dict[str, Any]], expected: str) -> None:
    assert sentences.report(document(WHOLE, *rows)) == expected


def test_every_cohort() -> None:
    rows = [row({"cohort": "trial"}, "trusted"), row({"cohort": "smb"}, "trusted")]
    assert sentences.report(document(WHOLE, *rows, by=("cohort",))) == "Trusted for every cohort."


def test_the_example_of_the_contract() -> None:
    rows = [on("chat", "trusted"), on("email", "trusted"), on("voice", "unproven", 41)]
    crossed = [both("voice", "trial", "untrusted"), both("chat", "trial", "trusted")]
    cohorts = [row({"cohort": "trial"}, "trusted"), row({"cohort": "smb"}, "trusted")]
    assert sentences.report(document(WHOLE, *rows, *cohorts, *crossed, by=("channel", "cohort"))) == (
        "Trusted on chat and email; unproven on voice: 41 more labels would settle it; "
        "untrusted for trial customers on voice."
    )


def test_an_untrusted_channel_is_not_told_again_for_each_cohort() -> None:
    rows = [on("chat", "trusted"), on("voice", "untrusted"), both("voice", "trial", "untrusted")]
    assert sentences.report(document(WHOLE, *rows, by=("channel", "cohort"))) == (
        "Trusted on chat; untrusted on voice."
    )


def test_an_untrusted_cohort_is_told_although_every_channel_is_trusted() -> None:
    rows = [on("chat", "trusted"), on("voice", "trusted"), row({"cohort": "trial"}, "untrusted")]
    assert sentences.report(document(WHOLE, *rows, both("voice", "trial", "untrusted"), by=("channel", "cohort"))) == (
        "Trusted on every channel; untrusted for trial customers."
    )


def test_an_unproven_slice_is_told_although_every_channel_is_trusted() -> None:
    rows = [on("chat", "trusted"), on("voice", "trusted"), row({"cohort": "trial"}, "trusted")]
    crossed = [
        row({"channel": "voice", "cohort": "trial"}, "unproven", 37),
        row({"channel": "voice", "cohort": "trial", "language": "de"}, "unproven", 60),
        row({"channel": "chat", "cohort": "trial"}, "unproven", 4, "too_few_items"),
    ]
    assert sentences.report(document(WHOLE, *rows, *crossed, by=("channel", "cohort"))) == (
        "Trusted on every channel; unproven for trial customers on voice: 37 more labels would settle it."
    )


def test_one_channel_gives_way_to_its_cohorts() -> None:
    rows = [
        on("social", "trusted"),
        row({"cohort": "Delta"}, "trusted"),
        row({"cohort": "United"}, "unproven", 90),
    ]
    assert sentences.report(document(WHOLE, *rows, by=("channel", "cohort"))) == (
        "Trusted for Delta customers; unproven for United customers: 90 more labels would settle it."
    )


def test_attributes_are_spelled_out() -> None:
    rows = [row({"language": "de"}, "trusted"), row({"language": "en"}, "untrusted")]
    assert sentences.report(document(WHOLE, *rows, by=("language",))) == (
        "Trusted where language is de; untrusted where language is en."
    )


def test_without_slices_the_number_itself_is_told() -> None:
    low = {"kappa": {"value": 0.4, "low": 0.3, "high": 0.5}}
    assert sentences.report(document(WHOLE, by=())) == "Trusted: kappa 0.70, at least 0.65, clears the bar of 0.60."
    assert sentences.report(document(row({}, "untrusted", **low), by=())) == (
        "Untrusted: kappa 0.40, at most 0.50, is below the bar of 0.60."
    )
    assert sentences.report(document(row({}, "unproven", 12), by=())) == ("Unproven: 12 more labels would settle it.")
    none = {"kappa": {"value": None, "reason": "one_category"}}
    assert sentences.report(document(row({}, "unproven", **none), by=())) == (
        "Unproven: only one category occurs, so that chance explains everything."
    )
    assert sentences.report(document(row({}, "unproven", n=0), by=())) == (
        "Unproven: it has no predictions on this gold."
    )


def test_clauses_carry_their_verdict_for_the_page() -> None:
    rows = [on("chat", "trusted"), on("voice", "untrusted")]
    assert [clause.word for clause in sentences.clauses(document(WHOLE, *rows))] == ["trusted", "untrusted"]


def test_an_empty_report_says_nothing() -> None:
    assert sentences.report(document()) == ""
