"""Addresses of labelling: pages first, then the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from labeling.api import labelling, signals
from labeling.views import people

pages: list[URLPattern] = [
    path("sign-in/", people.SignIn.as_view(), name="sign-in"),
    path("sign-out/", people.sign_out, name="sign-out"),
]

api: list[URLPattern] = [
    path("queues/<slug:slug>/next/", labelling.NextItem.as_view()),
    path("assignments/<int:assignment>/submit/", labelling.Submit.as_view()),
    path("assignments/<int:assignment>/skip/", labelling.Skip.as_view()),
    path("assignments/<int:assignment>/flag/", labelling.Flag.as_view()),
    path("assignments/<int:assignment>/undo/", labelling.Undo.as_view()),
    path("assignments/<int:assignment>/renew/", labelling.Renew.as_view()),
    path("assignments/<int:assignment>/release/", labelling.Release.as_view()),
    path("signals/", signals.Signals.as_view()),
    path("signals/<slug:slug>/", signals.OneSignal.as_view()),
]
