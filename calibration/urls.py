"""Addresses of calibration: pages first, then the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from calibration.api import bulk, classifiers, conversations
from calibration.views import overview

pages: list[URLPattern] = [
    path("", overview.home, name="home"),
]

api: list[URLPattern] = [
    path("conversations/bulk/", bulk.BulkConversations.as_view()),
    path("labels/bulk/", bulk.BulkLabels.as_view()),
    path("predictions/bulk/", bulk.BulkPredictions.as_view()),
    path("outcomes/bulk/", bulk.BulkOutcomes.as_view()),
    path("conversations/", conversations.Conversations.as_view()),
    path("conversations/<path:external_id>/", conversations.OneConversation.as_view()),
    path("classifiers/", classifiers.Classifiers.as_view()),
    path("classifiers/<str:slug>/versions/", classifiers.Versions.as_view()),
]
