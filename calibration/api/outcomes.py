"""Outcomes, voice and journeys over HTTP: what their pages show, as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import hearing, journey_measures, journeys, outcome_reports, voice
from calibration.stats.outcomes import ResponseBias, Survey


class Outcomes(APIView):
    """Surveys and events per slice, and the CSAT proxy beside them."""

    scope = "read"

    @extend_schema(
        operation_id="outcome_report",
        summary="Verified outcomes per channel and cohort",
        parameters=[OpenApiParameter("since", str), OpenApiParameter("until", str)],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        since, until = (outcome_reports.day(request.query_params.get(name), name) for name in ("since", "until"))
        report = outcome_reports.read(since=since, until=until)
        return Response(
            {
                "sentence": report.sentence,
                "since": since,
                "until": until,
                "left_out": report.left_out,
                "rows": [_outcome_row(row) for row in report.rows],
                "hidden": report.hidden,
                "proxies": [_proxy(one) for one in report.proxies],
            }
        )


class Voice(APIView):
    """Error rates of transcription per slice, the words most often wrong, and what they cost each version."""

    scope = "read"

    @extend_schema(operation_id="voice_report", summary="Word error rates", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        report = voice.cached()
        return Response(
            {
                "whole": _rates(report.whole),
                "slices": [_rates(one) for one in report.slices],
                "values": dict(report.values),
                "mistakes": [
                    {"said": one.said, "heard": one.heard, "times": one.times, "calls": one.calls}
                    for one in report.mistakes
                ],
                "waiting": report.waiting,
                "hearing": [_hearing(one) for one in hearing.read()],
            }
        )


class JourneyMeasures(APIView):
    """Contacts to a resolution, changes of channel and effort over the way, by cohort."""

    scope = "read"

    @extend_schema(operation_id="journey_measures", summary="Journeys by cohort", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        return Response(journey_measures.read().as_dict())


class OneJourney(APIView):
    """One customer's contacts, surveys and events in order, as the reader may see them."""

    scope = "read"

    @extend_schema(operation_id="journey", summary="A customer's journey", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, customer: str) -> Response:
        reader: Any = request.user
        told = journeys.read(customer=customer, reader=reader)
        return Response(
            {
                "customer": told.customer,
                "sentence": told.sentence,
                "contacts": [_contact(one) for one in told.contacts],
                "events": [{"at": one.at, "text": one.text, "survey": one.survey} for one in told.events],
                "channel_switches": told.switches,
                "touchpoints_to_resolution": [
                    {"contacts": one.contacts, "resolved": one.resolved} for one in told.episodes
                ],
                "mean_effort": told.mean_effort,
            }
        )


def _contact(one: journeys.Contact) -> dict[str, Any]:
    readings = [
        {"signal": each.signal.slug, "hidden": True}
        if each.hidden
        else {
            "signal": each.signal.slug,
            "value": each.value,
            "by": each.by,
            "of_people": each.of_people,
            "verdict": each.verdict,
        }
        for each in one.readings
    ]
    return {
        "conversation": one.external_id, "at": one.at, "channel": one.channel, "cohort": one.cohort, "switched": one.switched,
        "resolved": one.resolved, "effort": one.effort, "readings": readings,
    }  # fmt: skip


def _survey(one: Survey) -> dict[str, Any]:
    return {
        "score": one.score.as_dict(),
        "answered": one.answered,
        "asked": one.asked,
        "response_rate": one.response_rate,
    }


def _bias(one: ResponseBias | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "among_responders": one.among_responders.as_dict(), "low": one.low, "high": one.high,
        "reweighted": one.reweighted.as_dict(),
    }  # fmt: skip


def _outcome_row(row: outcome_reports.Row) -> dict[str, Any]:
    return {
        "slice": row.slice, "conversations": row.conversations, "csat": _survey(row.csat), "nps": _survey(row.nps),
        "ces": _survey(row.ces), "non_response": _bias(row.silence), "escalated": row.escalated.as_dict(),
        "reopened": row.reopened.as_dict(), "events": row.events,
    }  # fmt: skip


def _proxy(one: outcome_reports.Proxy) -> dict[str, Any]:
    steps = [
        {"value": step.value, "predicted": step.predicted, "answered": step.answered, "mean": step.mean,
         "satisfied": step.satisfied.as_dict()}
        for step in one.steps
    ]  # fmt: skip
    gap = one.gap
    return {
        "version": str(one.version), "pairs": one.pairs, "rank_correlation": one.rank.as_dict(), "calibration": steps,
        "bland_altman": {"bias": gap.bias.as_dict(), "lower": gap.lower.as_dict(), "upper": gap.upper.as_dict()},
        "non_response": _bias(one.bias),
    }  # fmt: skip


def _rates(one: voice.Rates) -> dict[str, Any]:
    return {
        "dimension": one.dimension or None, "value": one.value or None, "calls": one.calls, "words": one.words,
        "wer": one.wer.as_dict(), "cer": one.cer.as_dict(), "substitutions": one.substitutions, "insertions": one.insertions,
        "deletions": one.deletions,
    }  # fmt: skip


def _hearing(one: hearing.Hearing) -> dict[str, Any]:
    bands = [{"low": band.low, "high": band.high, "agreement": band.agreement.as_dict()} for band in one.bands]
    return {
        "version": str(one.version), "dataset": str(one.gold), "verdict": one.verdict, "sentence": one.words, "bands": bands,
        "falls_below_at": one.trend.falls_below_at, "z": one.trend.z, "p_value": one.trend.p_value, "bar": one.bar,
    }  # fmt: skip
