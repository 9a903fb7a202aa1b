"""Strategies that know predictions: where they look, and that every unit keeps its chance."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from io import StringIO

import pytest
from django.core.management import call_command

from calibration import sampling
from calibration.models import Classifier, ClassifierVersion, DriftFlag, Prediction
from calibration.sampling import Aim
from labeling.errors import NotFound, Refused
from labeling.frames import Frame
from labeling.models import Conversation, Queue, Signal
from tests.make import make_conversation, make_frame, make_label, make_signal, make_user

pytestmark = pytest.mark.django_db


def make_version(signal: Signal, name: str = "v1", slug: str = "judge") -> ClassifierVersion:
    classifier, _ = Classifier.objects.get_or_create(slug=slug, defaults={"title": slug, "signal": signal})
    return ClassifierVersion.objects.create(classifier=classifier, version=name, content_sha256="0" * 64)


def predict(version: ClassifierVersion, *, unsure: int = 40, sure: float = 0.98, value: str = "negative") -> None:
    """The first `unsure` conversations at 0.55, the rest at `sure`; every fifth is positive."""
    Prediction.objects.bulk_create(
        Prediction(
            version=version,
            conversation=conversation,
            value="positive" if number % 5 == 0 else value,
            probabilities={("positive" if number % 5 == 0 else value): 0.55 if number < unsure else sure},
        )
        for number, conversation in enumerate(Conversation.objects.order_by("id"))
    )


def total_weight(queue: Queue) -> dict[str, float]:
    weights: Counter[str] = Counter()
    for item in queue.items.all():
        weights[item.stratum] += 1 / item.inclusion_probability  # type: ignore[assignment]
    return {name: round(weight, 6) for name, weight in weights.items()}


def test_it_works() -> None:
    make_frame({("chat", "smb"): 200})
    signal = make_signal()
    version = make_version(signal)
    predict(version)
    queue = sampling.draw_queue(slug="q", signals=[signal], size=60, seed=1, aim=Aim("uncertainty"))
    drawn = Counter(item.stratum.rsplit(" ", 1)[-1] for item in queue.items.all())
    assert drawn["50%-75%"] / 40 > 2 * drawn["97%-100%"] / 160
    assert total_weight(queue) == {row["name"]: row["population"] for row in queue.design["strata"]}
    assert queue.design["basis"]["versions"] == ["judge@v1"]


def test_units_without_a_prediction_are_left_out_and_told() -> None:
    make_frame({("chat", "smb"): 100})
    signal = make_signal()
    predict(make_version(signal))
    for number in range(20):
        make_conversation(f"new-{number}")
    queue = sampling.draw_queue(slug="q", signals=[signal], size=40, seed=1, aim=Aim("uncertainty"))
    assert sum(total_weight(queue).values()) == pytest.approx(100)
    assert (queue.design["population"], queue.design["left_out"]) == (100, 20)
    assert not queue.items.filter(conversation__external_id__startswith="new").exists()


def test_uncertainty_needs_probabilities() -> None:
    make_frame({("chat", "smb"): 10})
    signal = make_signal()
    with pytest.raises(Refused, match="needs 1 classifier version with probabilities for sentiment; there are 0"):
        sampling.draw_queue(slug="q", signals=[signal], size=4, aim=Aim("uncertainty"))
    version = make_version(signal)
    predict(version)
    Prediction.objects.update(probabilities=None)
    with pytest.raises(Refused, match="judge@v1 gives no probabilities"):
        sampling.draw_queue(slug="q", signals=[signal], size=4, aim=Aim("uncertainty", classifiers=("judge@v1",)))
    with pytest.raises(NotFound, match="judge@v9 has no predictions"):
        sampling.draw_queue(slug="q", signals=[signal], size=4, aim=Aim("uncertainty", classifiers=("judge@v9",)))


def test_disagreement_looks_where_two_versions_differ() -> None:
    make_frame({("chat", "smb"): 200})
    signal = make_signal()
    first, second = make_version(signal, "v1"), make_version(signal, "v2")
    predict(first)
    predict(second)
    changed = Prediction.objects.filter(version=second).order_by("id").values_list("id", flat=True)[:30]
    Prediction.objects.filter(id__in=list(changed)).update(value="neutral")
    queue = sampling.draw_queue(slug="q", signals=[signal], size=60, seed=1, aim=Aim("disagreement"))
    rates = {row["name"]: row["allocated"] / row["population"] for row in queue.design["strata"]}
    assert rates["neutral · disagree"] > rates["negative · agree"]
    assert total_weight(queue) == {row["name"]: row["population"] for row in queue.design["strata"]}


def test_drift_draws_only_flagged_slices_since_the_change() -> None:
    signal = make_signal()
    for number in range(30):
        channel = "voice" if number % 2 else "chat"
        make_conversation(channel=channel, started_at=datetime(2026, 3, 1 + number % 10, tzinfo=UTC))
    with pytest.raises(Refused, match="no drift flag of sentiment is open"):
        sampling.draw_queue(slug="q", signals=[signal], size=4, aim=Aim("drift"))
    DriftFlag.objects.create(
        kind="agreement", version=make_version(signal), slice={"channel": "voice"}, slice_key="voice",
        since=date(2026, 3, 6), raised_at=datetime(2026, 3, 12, tzinfo=UTC), guarantee="",
    )  # fmt: skip
    queue = sampling.draw_queue(slug="q", signals=[signal], size=50, seed=1, aim=Aim("drift"))
    drawn = Conversation.objects.filter(items__queue=queue)
    assert set(drawn.values_list("channel", flat=True)) == {"voice"}
    assert drawn.count() == Conversation.objects.filter(channel="voice", started_at__day__gte=6).count() > 0


def test_flagged_attributes_are_slices_too() -> None:
    make_frame({("chat", "smb"): 30})
    signal = make_signal()
    DriftFlag.objects.create(
        kind="agreement", version=make_version(signal), slice={"language": "de"}, slice_key="de",
        raised_at=datetime(2026, 3, 12, tzinfo=UTC), guarantee="",
    )  # fmt: skip
    queue = sampling.draw_queue(slug="q", signals=[signal], size=50, seed=1, aim=Aim("drift"))
    assert {item.conversation.attributes["language"] for item in queue.items.select_related("conversation")} == {"de"}


def test_an_uncertainty_queue_can_be_topped_up() -> None:
    make_frame({("chat", "smb"): 200})
    signal = make_signal()
    predict(make_version(signal))
    queue = sampling.draw_queue(slug="q", signals=[signal], size=40, seed=1, aim=Aim("uncertainty"))
    assert sampling.top_up(queue=queue, size=30, seed=2) == 30
    assert sum(total_weight(queue).values()) == pytest.approx(200)


def test_sets_of_categories_are_as_sure_as_their_least_sure_member() -> None:
    told = {"a": 0.9, "b": 0.3, "c": 0.05}
    assert sampling.confidence('["a"]', told, scale="multilabel") == pytest.approx(0.7)
    assert sampling.confidence("a", told, scale="nominal") == 0.9
    assert sampling.confidence("z", told, scale="nominal") is None
    assert sampling.confidence("a", None, scale="nominal") is None


def test_turns_are_asked_of_the_roles_that_were_predicted() -> None:
    signal = make_signal("tone", unit="turn")
    conversation = make_conversation(texts=("one", "two", "three", "four"))
    Prediction.objects.create(version=make_version(signal), conversation=conversation, turn=1, value="negative")
    assert sampling.with_roles(Frame(), signals=[signal]).roles == ("agent",)
    make_label(conversation, signal, make_user(), "neutral", turn=0)
    assert sampling.with_roles(Frame(), signals=[signal]).roles == ()


def sample(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("sample", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_the_queue_and_tells_the_rest_aside() -> None:
    make_frame({("chat", "smb"): 20, ("voice", "smb"): 10})
    make_signal()
    make_user("ann")
    out, err = sample("pilot", "--signal", "sentiment", "--size", "50", "--strategy", "uniform", "--member", "ann")
    assert out == "pilot items=30\n"
    assert "30 units, 50 were asked for: all are taken" in err
    out, _ = sample(
        "voice", "--signal=sentiment", "--size=5", "--strategy=stratified", "--by=channel,cohort", "--seed=4"
    )
    assert out == "voice items=5\n"
    out, _ = sample("voice", "--size=5", "--top-up")
    assert out == "voice items=10\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--signal=mood", "--size=3"], "there is no signal 'mood'"),
        (["--signal=sentiment", "--size=3", "--channel=fax"], "no conversation lies in this frame"),
        (["--signal=sentiment", "--size=3", "--member=zoe"], "there is no person 'zoe'"),
        (["--signal=sentiment", "--size=0"], "1 to 1,000,000"),
        (["--signal=sentiment", "--size=3", "--attribute=x"], "write NAME=VALUE"),
    ],
)
def test_the_command_refuses_clearly(arguments: list[str], message: str) -> None:
    make_frame({("chat", "smb"): 3})
    make_signal()
    err = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("sample", "q", *arguments, stdout=StringIO(), stderr=err)
    assert stopped.value.code == 1
    assert message in err.getvalue()
    assert not Queue.objects.exists()
