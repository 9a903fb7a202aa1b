"""Addresses of labelling: pages first, then the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from labeling.api import signals
from labeling.views import people

pages: list[URLPattern] = [
    path("sign-in/", people.SignIn.as_view(), name="sign-in"),
    path("sign-out/", people.sign_out, name="sign-out"),
]

api: list[URLPattern] = [
    path("signals/", signals.Signals.as_view()),
    path("signals/<slug:slug>/", signals.OneSignal.as_view()),
]
