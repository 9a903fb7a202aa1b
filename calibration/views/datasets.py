"""Pages of gold datasets: the list, a version with its card, the form that freezes."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from calibration import scoring, training
from calibration.evaluators.base import READS
from calibration.evaluators.trained import Settings
from calibration.evidence import gold_cards
from labeling import access, exporting, gold, privacy
from labeling.access import person, role_required
from labeling.aggregation import AGGREGATIONS
from labeling.api.datasets import download
from labeling.errors import Refused
from labeling.models import Dataset, DatasetVersion, Queue, Signal

TITLES = {
    "jsonl": "JSON Lines",
    "csv": "CSV",
    "parquet": "Parquet",
    "label-studio": "Label Studio",
    "doccano": "doccano",
    "argilla": "Argilla",
    "openai-chat": "OpenAI chat, for fine-tuning and evals",
    "langfuse": "Langfuse dataset items",
    "phoenix": "Phoenix annotations",
}


class FreezeForm(forms.Form):
    """What to freeze and by which rule."""

    dataset = forms.SlugField(max_length=80, label="Dataset", help_text="A new name makes a new dataset.")
    signal = forms.ModelChoiceField(Signal.objects.filter(measured=False), to_field_name="slug", empty_label=None)
    queues = forms.ModelMultipleChoiceField(
        Queue.objects.all(),
        to_field_name="slug",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Labels of these queues",
    )
    aggregation = forms.ChoiceField(choices=[(name, name) for name in AGGREGATIONS], initial="adjudicated")
    min_labels = forms.IntegerField(min_value=1, max_value=50, initial=1, label="Labels an item needs")


@role_required("engineer")
def index(request: HttpRequest) -> HttpResponse:
    datasets = Dataset.objects.select_related("signal").order_by("slug")
    versions = DatasetVersion.objects.filter(frozen_at__isnull=False).select_related("dataset").order_by("-number")
    found: dict[int, list[DatasetVersion]] = {}
    for version in versions:
        found.setdefault(version.dataset_id, []).append(version)
    rows = [{"dataset": dataset, "versions": found.get(dataset.id, [])} for dataset in datasets]
    return render(request, "calibration/datasets.html", {"rows": rows})


@role_required("engineer")
def one(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    version = access.dataset_version(slug, number)
    grid = gold_cards.grid(version)
    context = {
        "version": version,
        "grid": grid,
        "sentence": gold_cards.sentence(version, grid.whole),
        "others": version.dataset.versions.filter(frozen_at__isnull=False).exclude(id=version.id).order_by("-number"),
        "changed": gold.changed_items(version=version, limit=50),
        "formats": [(name, title, ", ".join(exporting.NOT_CARRIED.get(name, ()))) for name, title in TITLES.items()],
        "queues": version.queues.all(),
        "classifiers": version.dataset.signal.classifiers.order_by("-id"),
    }
    masking = privacy.told(privacy.in_force(), reader=person(request))
    return render(request, "calibration/dataset.html", context | masking)


class FitForm(forms.Form):
    """What is fitted on a gold version, and how."""

    classifier = forms.CharField(max_length=80, help_text="A new name makes a new classifier of this signal.")
    version = forms.CharField(max_length=120, initial="1", help_text="A version is pinned: each name is used once.")
    reads = forms.ChoiceField(choices=list(READS.items()), initial="customer", label="What is read")
    held_out = forms.FloatField(
        min_value=0, max_value=0.9, initial=0.25, label="Share held out", help_text="It measures the version."
    )
    analyzer = forms.ChoiceField(
        choices=[("word", "words and pairs of them"), ("char", "letters, up to four together")]
    )
    strength = forms.FloatField(
        min_value=0.001, max_value=1e6, initial=1.0, help_text="C: higher follows the gold closer."
    )


@role_required("engineer")
def fit(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The form; a POST fits, and lets the new version score what was held out."""
    gold_version = access.dataset_version(slug, number)
    form = FitForm(request.POST or None, initial={"classifier": f"{gold_version.dataset.signal.slug}-house"})
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        settings = Settings(analyzer=given.pop("analyzer"), strength=given.pop("strength"))
        try:
            done = training.fit(dataset_version=gold_version, settings=settings, most=training.MOST_UNITS, **given)
        except Refused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        else:
            told = f"{done.version} was fitted on {done.units} units"
            if done.held_out:
                scoring.start(version=done.version, frame={"dataset": str(gold_version)})
                told += f"; the {done.held_out} held out are being scored, and it is measured on those alone"
            messages.success(request, f"{told}.")
            address = reverse("report", args=[done.version.classifier.slug])
            return redirect(f"{address}?{urlencode({'dataset': str(gold_version), 'version': done.version.version})}")
    status = 422 if form.errors and request.method == "POST" else 200
    return render(request, "calibration/fit.html", {"form": form, "version": gold_version}, status=status)


@role_required("engineer")
@require_POST
def verify(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Recompute the hash, which reads every row; it changes nothing, but it is work that one asks for."""
    version = access.dataset_version(slug, number)
    if gold.verify(version=version):
        messages.success(request, f"{version} still gives sha256 {version.sha256}.")
    else:
        messages.error(request, f"{version} does NOT give its sha256 any more: the database was tampered with.")
    return redirect("dataset-version", slug=slug, number=number)


@role_required("engineer")
def export(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    return download(request, access.dataset_version(slug, number), reader=person(request), via="page")


@role_required("engineer")
def freeze(request: HttpRequest) -> HttpResponse:
    """The form; a POST freezes. What it would come to is previewed beside it while one fills it in."""
    form = FreezeForm(request.POST or None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        try:
            version = gold.freeze(
                dataset=form.cleaned_data["dataset"],
                signal=form.cleaned_data["signal"],
                queues=list(form.cleaned_data["queues"]),
                aggregation=form.cleaned_data["aggregation"],
                min_labels=form.cleaned_data["min_labels"],
                created_by=person(request),
                now=timezone.now(),
            )
        except Refused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        else:
            messages.success(request, f"{version} is frozen: {version.item_count} items.")
            return redirect("dataset-version", slug=version.dataset.slug, number=version.number)
    status = 422 if form.errors and request.method == "POST" else 200
    return render(request, "calibration/freeze.html", {"form": form, "preview": _preview(request)}, status=status)


@role_required("engineer")
def freeze_preview(request: HttpRequest) -> HttpResponse:
    """What the freeze would come to, as a fragment."""
    return render(request, "calibration/_freeze_preview.html", {"preview": _preview(request)})


def _preview(request: HttpRequest) -> dict[str, object] | None:
    """The counts of a freeze with the fields as they are; the reason where they cannot be used; None while incomplete."""
    given = request.GET if request.method == "GET" else request.POST
    form = FreezeForm(given)
    form.fields["dataset"].required = False
    if not given.get("signal") or not form.is_valid():
        return None
    try:
        counts = gold.preview(
            signal=form.cleaned_data["signal"],
            queues=list(form.cleaned_data["queues"]),
            aggregation=form.cleaned_data["aggregation"],
            min_labels=form.cleaned_data["min_labels"],
        )
    except Refused as refused:
        return {"refused": refused.message}
    decided = counts.pop("decided", 0)
    return {"decided": decided, "open": [(reason.replace("_", " "), count) for reason, count in counts.most_common()]}
