"""What a scale accepts, and what it refuses in words."""

from __future__ import annotations

from typing import Any

import pytest

from labeling.values import Scale, ValueRefused

EFFORT = Scale("interval", minimum=1, maximum=7)
TOPICS = Scale("multilabel", ("billing", "delivery", "account"))


@pytest.mark.parametrize(("answer", "text"), [(4, "4"), (4.0, "4"), (2.5, "2.5")])
def test_equal_numbers_are_equal_as_text(answer: float, text: str) -> None:
    assert EFFORT.encode(answer) == (text, float(answer))


def test_several_labels_are_in_the_order_of_the_signal() -> None:
    assert TOPICS.encode(["account", "billing"]) == ('["billing", "account"]', None)


@pytest.mark.parametrize("answer", [10**400, -(10**400), float("inf"), float("nan"), True, "4", None, 9])
def test_what_is_no_number_of_the_scale_is_refused(answer: Any) -> None:
    with pytest.raises(ValueRefused):
        EFFORT.encode(answer)
