"""Forms of the calibration pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.db.models import Case, IntegerField, When
from django.http import QueryDict
from django.utils.text import slugify

from calibration import sampling
from labeling import references
from labeling.errors import Refused
from labeling.frames import ROLES, Frame
from labeling.models import Conversation, DatasetVersion, Queue, Signal, User

MIX_SHARES = ("repeat_share", "gold_share", "practice_pass")
MIX_COUNTS = ("repeat_after_items", "repeat_after_minutes", "practice_size")
SHOWN = 40
"""Channels, cohorts and sources offered as boxes to tick; with more of them, names are typed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A queue as the form asks for it, in the terms of `calibration.sampling.draw_queue`."""

    signals: list[Signal]
    size: int
    aim: sampling.Aim
    frame: Frame
    seed: int | None


class Names(forms.CharField):
    """Names separated by commas."""

    def clean(self, value: Any) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word.strip() for word in str(value or "").split(",") if word.strip()))


class SignalsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Signals by their titles."""

    def label_from_instance(self, signal: Any) -> str:
        return str(signal.title)


class QueueForm(forms.Form):
    """What to draw. Filled from the address too, so that other pages can link to a queue that is nearly drawn."""

    signal = SignalsField(
        Signal.objects.filter(measured=False),
        to_field_name="slug",
        widget=forms.CheckboxSelectMultiple,
        label="Signals",
        error_messages={"required": "choose what is asked"},
    )
    size = forms.IntegerField(min_value=1, max_value=1_000_000, initial=200, label="Items")
    strategy = forms.ChoiceField(
        choices=[
            ("uniform", "Uniform: every unit alike"),
            ("stratified", "Stratified: so many of each slice"),
            ("uncertainty", "Uncertainty: most where the classifier is unsure"),
            ("disagreement", "Disagreement: most where versions differ"),
            ("drift", "Drift: only slices with an open flag"),
        ],
        initial="uniform",
    )
    by = Names(required=False, label="Strata by")
    allocation = forms.ChoiceField(
        required=False,
        choices=[
            ("proportional", "Proportional to the slice"),
            ("equal", "Equal for each slice"),
            ("neyman", "Neyman, by the spread in a pilot"),
        ],
    )
    pilot = forms.CharField(required=False, label="Pilot")
    classifier = Names(required=False, label="Classifier versions")
    channel = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Channels")
    cohort = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Cohorts")
    source = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Sources")
    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label="From")
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label="To")
    attribute = Names(required=False, label="Attributes")
    role = forms.MultipleChoiceField(
        required=False, choices=[(role, role) for role in ROLES], widget=forms.CheckboxSelectMultiple, label="Turns by"
    )
    seed = forms.IntegerField(required=False, min_value=0, max_value=2**62)
    slices: ClassVar = ("channel", "cohort", "source")

    def __init__(self, data: QueryDict | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        for name in self.slices:
            field = self.fields[name]
            assert isinstance(field, forms.MultipleChoiceField)
            known = list(Conversation.objects.order_by(name).values_list(name, flat=True).distinct()[: SHOWN + 1])
            # What another page asks for is offered too: a box that is not there would draw from everything.
            field.choices = [(value, value or "none") for value in dict.fromkeys([*self._asked(name), *known[:SHOWN]])]
        signals = self.fields["signal"]
        assert isinstance(signals, SignalsField)
        asked_first = Case(When(slug__in=self._asked("signal"), then=0), default=1, output_field=IntegerField())
        signals.queryset = Signal.objects.filter(measured=False).order_by(asked_first, "slug")
        for name in ("signal", *self.slices, "role"):
            self.fields[name].widget.attrs.pop("required", None)
        by = self.fields["by"].widget.attrs
        by |= {"placeholder": "channel, cohort", "list": "strata-names", "autocomplete": "off", "spellcheck": "false"}
        self.fields["attribute"].widget.attrs |= {"placeholder": "language=de", "spellcheck": "false"}
        self.fields["classifier"].widget.attrs |= {"placeholder": "the newest", "spellcheck": "false"}
        self.fields["pilot"].widget.attrs |= {"placeholder": "gold@1", "spellcheck": "false"}
        self.fields["seed"].widget.attrs |= {"placeholder": "made up"}

    def _asked(self, name: str) -> list[str]:
        """What is chosen: by whoever sent the form, or by the page that led to it."""
        return self.data.getlist(name) if isinstance(self.data, QueryDict) else list(self.initial.get(name, ()))

    def wanted(self) -> Wanted:
        """The form's content; raises Refused for what only the verbs can see."""
        told = self.cleaned_data
        order = {slug: place for place, slug in enumerate(self.data.getlist("signal"))}  # type: ignore[attr-defined]
        return Wanted(
            signals=sorted(told["signal"], key=lambda signal: order.get(signal.slug, 0)),
            size=told["size"],
            aim=sampling.Aim(
                strategy=told["strategy"],
                by=told["by"],
                allocation=told["allocation"] or "proportional",
                pilot=references.dataset_version(told["pilot"]) if told["pilot"] else None,
                classifiers=told["classifier"],
            ),
            frame=Frame(
                channels=tuple(told["channel"]),
                cohorts=tuple(told["cohort"]),
                sources=tuple(told["source"]),
                since=told["since"],
                until=told["until"],
                attributes=pairs(told["attribute"]),
                roles=tuple(told["role"]),
            ),
            seed=told["seed"],
        )


class NewQueueForm(QueueForm):
    """The same with what only a stored queue has: its name, its people."""

    title = forms.CharField(max_length=200, label="Name of the queue")
    overlap = forms.IntegerField(min_value=1, max_value=50, initial=1, label="Labels an item")
    overlap_most = forms.IntegerField(min_value=1, max_value=50, required=False, label="At most, where they tie")
    member = forms.ModelMultipleChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        to_field_name="username",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Who labels",
    )
    gold = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Known answers from")
    repeat_share = forms.FloatField(min_value=0, max_value=50, required=False, label="Asked again, %")
    repeat_after_items = forms.IntegerField(
        min_value=0, max_value=30_000, required=False, initial=20, label="after items"
    )
    repeat_after_minutes = forms.IntegerField(
        min_value=0, max_value=30_000, required=False, initial=0, label="and minutes"
    )
    gold_share = forms.FloatField(min_value=0, max_value=50, required=False, label="Gold checks, %")
    practice_size = forms.IntegerField(min_value=0, max_value=500, required=False, label="Practice round of")
    practice_pass = forms.FloatField(min_value=0, max_value=100, required=False, initial=80, label="right to pass, %")
    gold_feedback = forms.BooleanField(required=False, label="Tell the known answer right after a gold check")
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    shows_cohort = forms.BooleanField(required=False, label="Show cohort and customer to annotators")
    hides_names = forms.BooleanField(required=False, initial=True, label="Hide names from the reviewer until decided")

    def __init__(self, data: QueryDict | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        frozen = DatasetVersion.objects.filter(frozen_at__isnull=False, item_count__gt=0)
        newest = frozen.select_related("dataset__signal").order_by("dataset__slug", "-number")[:SHOWN]
        gold = self.fields["gold"]
        assert isinstance(gold, forms.MultipleChoiceField)
        gold.choices = [(str(one), f"{one}: {one.dataset.signal.title}, {one.item_count:,}") for one in newest]

    def mixed_in(self) -> dict[str, Any]:
        """The settings of `labeling.checks` that were filled in, and whether gold checks tell; the others keep their defaults."""
        told = self.cleaned_data
        shares = {name: told[name] / 100 for name in MIX_SHARES if told[name] is not None}
        counts = {name: told[name] for name in MIX_COUNTS if told[name] is not None}
        return shares | counts | {"gold_feedback": told["gold_feedback"]}

    def slug(self) -> str:
        """A free name made from the title."""
        base = slugify(self.cleaned_data["title"])[:70] or "queue"
        taken = set(Queue.objects.filter(slug__startswith=base).values_list("slug", flat=True))
        numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
        return next(name for name in (base, *numbered) if name not in taken)


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """`language=de` as a filter; raises Refused for anything else."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise Refused("bad_attribute", f"{text!r}: write name=value", field="attribute")
        found[name.strip()] = value.strip()
    return found
