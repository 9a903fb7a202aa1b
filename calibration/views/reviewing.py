"""What a queue's disagreements have in common: which answers are mixed up, who agrees with whom, and since when."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from calibration import concord
from calibration.annotators import told
from calibration.concord import Concord
from calibration.stats.intervals import normal_quantile
from labeling import access, adjudication
from labeling.dawid_skene import Annotator
from labeling.models import Conversation

LISTED = 200


@login_required
@require_safe
def mixed(request: HttpRequest, kind: str, slug: str) -> HttpResponse:
    """Pairs of answers with examples, pairs of people, and alpha over time, for each signal of a scope."""
    scope = access.review_scope(access.person(request), kind, slug)
    votes = adjudication.votes_of(scope)
    sections = [
        _section(one, adjudication.mixed_up(votes, signal=one.signal.id)[:LISTED]) for one in concord.read(scope)
    ]
    shown = {unit.conversation for section in sections for row in section["rows"] for unit, _ in row["examples"]}
    names = dict(Conversation.objects.filter(id__in=shown).values_list("id", "external_id"))
    for section in sections:
        for row in section["rows"]:
            row["examples"] = [(key, names[unit.conversation]) for unit, key in row["examples"]]
    context = {"scope": scope, "kind": kind, "base": scope.address, "sections": sections}
    context["shared"] = any(section["alpha"]["n"] for section in sections)
    return render(request, "calibration/review_mixed.html", context)


def _section(one: Concord, found: list[adjudication.Mixed]) -> dict[str, Any]:
    labels = {category.value: category.label for category in one.signal.categories.all()}
    rows = [
        {
            "first": labels.get(mix.first, mix.first),
            "second": labels.get(mix.second, mix.second),
            "pairs": mix.pairs,
            "percent": round(100 * mix.share),
            "examples": [(unit, ".".join(map(str, unit))) for unit in mix.examples],
        }
        for mix in found
    ]
    return {
        "signal": one.signal,
        "rows": rows,
        "alpha": told(one.alpha),
        "pairs": [{"one": pair, "same": told(pair.same), "kappa": told(pair.kappa)} for pair in one.pairs],
        "accuracies": one.accuracies,
        "people": [{"one": person, "limits": _limits(person)} for person in one.accuracies.people],
        "period": one.period,
        "periods": [{"one": period, "alpha": told(period.alpha)} for period in one.periods],
    }


def _limits(person: Annotator) -> dict[str, float]:
    """Value and large-sample limits of an accuracy, as the pages' glyphs take them."""
    reach = normal_quantile(0.95) * person.standard_error
    value = person.accuracy
    return {"value": value, "low": max(value - reach, 0.0), "high": min(value + reach, 1.0)}
