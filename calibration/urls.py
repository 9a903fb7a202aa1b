"""Addresses of calibration: pages first, then the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from calibration.api import (
    agreement,
    bulk,
    canaries,
    classifiers,
    conversations,
    drift,
    evals,
    moves,
    outcomes,
    people,
    queues,
    reviewing,
    runs,
    traces,
)
from calibration.views import canaries as canary_pages
from calibration.views import conversations as conversation_pages
from calibration.views import datasets as dataset_pages
from calibration.views import demo as demo_pages
from calibration.views import drift as drift_pages
from calibration.views import imports as import_pages
from calibration.views import journeys as journey_pages
from calibration.views import moves as move_pages
from calibration.views import outcomes as outcome_pages
from calibration.views import overview, reports
from calibration.views import people as people_pages
from calibration.views import queues as queue_pages
from calibration.views import reviewing as review_pages
from calibration.views import traces as trace_pages
from calibration.views import voice as voice_pages

pages: list[URLPattern] = [
    path("", overview.home, name="home"),
    path("classifiers/", reports.classifiers, name="classifiers"),
    path("classifiers/<str:slug>/", reports.report, name="report"),
    path("classifiers/<str:slug>/history/", reports.report_history, name="report-history"),
    path("classifiers/<str:slug>/running/", reports.running_figures, name="report-running"),
    path("classifiers/<str:slug>/items/", reports.conversations_behind, name="report-items"),
    path("classifiers/<str:slug>/canaries/", canary_pages.index, name="canaries"),
    path("classifiers/<str:slug>/canaries/change/", canary_pages.change, name="canaries-change"),
    path("classifiers/<str:slug>/plan/", reports.plan, name="plan"),
    path("classifiers/<str:slug>/compare/", reports.compare, name="compare"),
    path("classifiers/<str:slug>/keep/", reports.keep, name="report-save"),
    path("reports/<int:report_id>/", reports.kept_report, name="kept-report"),
    path("import/", import_pages.start, name="import"),
    path("import/preview/", import_pages.preview, name="import-preview"),
    path("import/load/", import_pages.load, name="import-load"),
    path("import/progress/", import_pages.progress, name="import-progress"),
    path("take-out/", import_pages.take_out, name="take-out"),
    path("take-out/<slug:kind>/", import_pages.taken, name="taken-out"),
    path("queues/", queue_pages.index, name="queues"),
    path("queues/new/", queue_pages.new, name="queue-new"),
    path("queues/<slug:slug>/", queue_pages.one, name="queue"),
    path("queues/<slug:slug>/known/", queue_pages.known, name="queue-known"),
    path("queues/<slug:slug>/known/<int:known_id>/", queue_pages.explain, name="queue-explain"),
    path("queues/<slug:slug>/change/", queue_pages.change, name="queue-change"),
    path("people/", people_pages.myself, name="myself"),
    path("people/<str:name>/", people_pages.one, name="person"),
    path("review/<str:kind>/<slug:slug>/mixed/", review_pages.mixed, name="review-mixed"),
    path("datasets/", dataset_pages.index, name="datasets"),
    path("datasets/freeze/", dataset_pages.freeze, name="freeze"),
    path("datasets/freeze/preview/", dataset_pages.freeze_preview, name="freeze-preview"),
    path("datasets/<slug:slug>/<int:number>/", dataset_pages.one, name="dataset-version"),
    path("datasets/<slug:slug>/<int:number>/fit/", dataset_pages.fit, name="dataset-fit"),
    path("datasets/<slug:slug>/<int:number>/verify/", dataset_pages.verify, name="dataset-verify"),
    path("datasets/<slug:slug>/<int:number>/export/", dataset_pages.export, name="dataset-export"),
    path("drift/", drift_pages.inbox, name="drift"),
    path("drift/look/", drift_pages.look, name="drift-look"),
    path("drift/<int:flag_id>/", drift_pages.flag_page, name="flag"),
    path("drift/<int:flag_id>/change/", drift_pages.change, name="flag-change"),
    path("trends/", move_pages.trend_index, name="trends"),
    path("signals/<slug:slug>/trend/", move_pages.trend, name="trend"),
    path("signals/<slug:slug>/trend/versions/", move_pages.version_changes, name="version-changes"),
    path("signals/<slug:slug>/moved/", move_pages.moved, name="moved"),
    path("signals/<slug:slug>/settle/", move_pages.settle, name="settle"),
    path("gates/", move_pages.gate_list, name="gates"),
    path("gates/<int:run_id>/", move_pages.gate, name="gate"),
    path("outcomes/", outcome_pages.outcomes, name="outcomes"),
    path("voice/", voice_pages.voice, name="voice"),
    path("voice/measure/", voice_pages.measure, name="voice-measure"),
    path("journeys/", journey_pages.cohorts, name="journeys"),
    path("journeys/<path:customer>/", journey_pages.journey, name="journey"),
    path("traces/", trace_pages.traces, name="traces"),
    path("traces/retry/", trace_pages.retry, name="traces-retry"),
    path("traces/<str:trace_id>/", trace_pages.trace, name="trace"),
    path("traces/<str:trace_id>/original/", trace_pages.original, name="trace-original"),
    path("demo/calls/<str:external_id>.wav", demo_pages.call, name="demo-call"),
    path("conversations/", conversation_pages.conversations, name="conversations"),
    path("conversations/<path:external_id>/original/", conversation_pages.original, name="conversation-original"),
    path("conversations/<path:external_id>/", conversation_pages.conversation, name="conversation"),
]

# Where trace exporters post, under the paths that they have built in.
exporters: list[URLPattern] = [
    path("v1/traces", traces.Traces.as_view()),
    path("tracer/v1/traces", traces.Traces.as_view()),
    path("tracer/observation-span/create_otel_span/", traces.Traces.as_view()),
    path("tracer/custom-eval-config/get_custom_eval_by_name/", evals.EvalByName.as_view()),
    path("tracer/custom-eval-config/check_exists/", evals.EvalConfigExists.as_view()),
    path("sdk/api/v1/get-evals/", evals.GetEvals.as_view()),
    path("sdk/api/v1/new-eval/", evals.NewEval.as_view()),
]

api: list[URLPattern] = [
    path("queues/", queues.Queues.as_view()),
    path("queues/<slug:slug>/", queues.OneQueue.as_view()),
    path("dump/<slug:kind>/", bulk.Dump.as_view()),
    path("conversations/bulk/", bulk.BulkConversations.as_view()),
    path("labels/bulk/", bulk.BulkLabels.as_view()),
    path("predictions/bulk/", bulk.BulkPredictions.as_view()),
    path("outcomes/bulk/", bulk.BulkOutcomes.as_view()),
    path("outcomes/", outcomes.Outcomes.as_view()),
    path("voice/", outcomes.Voice.as_view()),
    path("journeys/", outcomes.JourneyMeasures.as_view()),
    path("journeys/<path:customer>/", outcomes.OneJourney.as_view()),
    path("conversations/", conversations.Conversations.as_view()),
    path("conversations/<path:external_id>/", conversations.OneConversation.as_view()),
    path("reviews/agreement/", reviewing.ReviewAgreement.as_view()),
    path("people/<str:name>/", people.Person.as_view()),
    path("agreement/", agreement.Agreement.as_view()),
    path("plan/", agreement.Plan.as_view()),
    path("comparison/", agreement.Comparison.as_view()),
    path("reports/<int:report_id>/", agreement.KeptReport.as_view()),
    path("classifiers/", classifiers.Classifiers.as_view()),
    path("fits/", runs.Fits.as_view()),
    path("runs/", runs.Runs.as_view()),
    path("runs/<int:pk>/", runs.OneRun.as_view()),
    path("runs/<int:pk>/resume/", runs.Resume.as_view()),
    path("trends/", moves.Trends.as_view()),
    path("trends/versions/", moves.VersionChanges.as_view()),
    path("attribution/", moves.Attribution.as_view()),
    path("attribution/settle/", moves.Settle.as_view()),
    path("gates/", moves.Gates.as_view()),
    path("drift/", drift.Flags.as_view()),
    path("drift/evaluate/", drift.Evaluate.as_view()),
    path("drift/<int:flag_id>/", drift.OneFlag.as_view()),
    path("drift/<int:flag_id>/acknowledge/", drift.Acknowledge.as_view()),
    path("drift/<int:flag_id>/dismiss/", drift.Dismiss.as_view()),
    path("drift/<int:flag_id>/snooze/", drift.Snooze.as_view()),
    path("drift/<int:flag_id>/assign/", drift.Assign.as_view()),
    path("drift/<int:flag_id>/resolve/", drift.Resolve.as_view()),
    path("drift/<int:flag_id>/recalibrate/", drift.Recalibrate.as_view()),
    path("classifiers/<str:slug>/versions/", classifiers.Versions.as_view()),
    path("classifiers/<str:slug>/versions/<str:version>/canaries/", canaries.Canaries.as_view()),
    path("classifiers/<str:slug>/versions/<str:version>/canaries/score/", canaries.Score.as_view()),
    path("classifiers/<str:slug>/versions/<str:version>/canaries/rounds/", canaries.Rounds.as_view()),
]
