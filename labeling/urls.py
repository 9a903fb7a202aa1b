"""Addresses of labelling: pages first, then the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from labeling.api import datasets, labelling, notices, privacy, reviews, signals, tokens
from labeling.api import practice as practice_api
from labeling.views import desk, notifications, people, practice, review, settings
from labeling.views import privacy as privacy_pages

pages: list[URLPattern] = [
    path("sign-in/", people.SignIn.as_view(), name="sign-in"),
    path("sign-out/", people.sign_out, name="sign-out"),
    path("label/", desk.my_queues, name="label-queues"),
    path("label/<slug:slug>/", desk.desk, name="label-desk"),
    path("label/<slug:slug>/guideline/", desk.guideline, name="label-guideline"),
    path("label/<slug:slug>/done/", desk.done, name="label-done"),
    path("label/<slug:slug>/practice/", practice.start, name="practice"),
    path("label/<slug:slug>/practice/begin/", practice.begin, name="practice-begin"),
    path("label/<slug:slug>/practice/<int:place>/", practice.told, name="practice-told"),
    path("label/<slug:slug>/practice/<int:place>/answer/", practice.answer, name="practice-answer"),
    path("review/", review.index, name="reviews"),
    path("review/signal/<slug:slug>/", review.signal, name="review-signal"),
    path("review/<slug:slug>/", review.queue, name="review-queue"),
    path("review/<slug:slug>/set-aside/", review.set_aside, name="review-aside"),
    path("review/<str:kind>/<slug:slug>/decide/", review.decide, name="review-decide"),
    path("review/<str:kind>/<slug:slug>/withdraw/", review.withdraw, name="review-withdraw"),
    path("review/<str:kind>/<slug:slug>/more/", review.one_more, name="review-more"),
    path("review/<str:kind>/<slug:slug>/mend/", review.mend, name="review-mend"),
    path("review/queue/<slug:slug>/further/", review.further, {"kind": "queue"}, name="review-further"),
    path("review/queue/<slug:slug>/requeue/", review.requeue, {"kind": "queue"}, name="review-requeue"),
    path("settings/", settings.home, name="settings"),
    path("settings/signals/", settings.signals, name="settings-signals"),
    path("settings/signals/new/", settings.signal, name="settings-signal-new"),
    path("settings/signals/text/", settings.signals_text, name="settings-signals-text"),
    path("settings/signals/<slug:slug>/edit/", settings.signal, name="settings-signal"),
    path("settings/signals/<slug:slug>/guideline/", settings.guideline, name="settings-guideline"),
    path("settings/people/", settings.members, name="settings-people"),
    path("settings/people/<path:name>/", settings.change_member, name="settings-person"),
    path("settings/privacy/", privacy_pages.index, name="settings-privacy"),
    path("settings/tokens/", settings.own_tokens, name="settings-tokens"),
    path("settings/tokens/<int:token>/revoke/", settings.revoke_token, name="settings-token-revoke"),
    path("settings/notifications/", notifications.index, name="settings-notifications"),
    path("settings/notifications/<int:number>/", notifications.one, name="settings-notification"),
    path("settings/notifications/<int:number>/change/", notifications.change, name="settings-notification-change"),
    path("settings/profile/", settings.profile, name="settings-profile"),
]

api: list[URLPattern] = [
    path("queues/<slug:slug>/next/", labelling.NextItem.as_view()),
    path("queues/<slug:slug>/undo/", labelling.UndoLast.as_view()),
    path("queues/<slug:slug>/guidelines/", labelling.Guidelines.as_view()),
    path("queues/<slug:slug>/practice/", practice_api.Practice.as_view()),
    path("practice/<int:place>/answer/", practice_api.PracticeAnswer.as_view()),
    path("queues/<slug:slug>/set-aside/", reviews.SetAside.as_view()),
    path("queues/<slug:slug>/requeue/", reviews.Requeue.as_view()),
    path("reviews/one-more/", reviews.OneMore.as_view()),
    path("reviews/withdraw/", reviews.Withdraw.as_view()),
    path("keymap/", labelling.Keymap.as_view()),
    path("assignments/<int:assignment>/submit/", labelling.Submit.as_view()),
    path("assignments/<int:assignment>/skip/", labelling.Skip.as_view()),
    path("assignments/<int:assignment>/flag/", labelling.Flag.as_view()),
    path("assignments/<int:assignment>/undo/", labelling.Undo.as_view()),
    path("assignments/<int:assignment>/renew/", labelling.Renew.as_view()),
    path("assignments/<int:assignment>/release/", labelling.Release.as_view()),
    path("reviews/", reviews.Reviews.as_view()),
    path("privacy/", privacy.PrivacySetting.as_view()),
    path("original-readings/", privacy.OriginalReadings.as_view()),
    path("tokens/", tokens.Tokens.as_view()),
    path("tokens/<int:token>/", tokens.OneToken.as_view()),
    path("subscriptions/", notices.Subscriptions.as_view()),
    path("subscriptions/<int:number>/", notices.OneSubscription.as_view()),
    path("subscriptions/<int:number>/test/", notices.Test.as_view()),
    path("subscriptions/<int:number>/rotate/", notices.Rotate.as_view()),
    path("subscriptions/<int:number>/deliveries/", notices.Deliveries.as_view()),
    path("datasets/", datasets.Datasets.as_view()),
    path("datasets/<slug:slug>/versions/", datasets.Versions.as_view()),
    path("datasets/<slug:slug>/versions/<int:number>/", datasets.OneVersion.as_view()),
    path("datasets/<slug:slug>/versions/<int:number>/export/", datasets.Export.as_view()),
    path("signals/", signals.Signals.as_view()),
    path("signals/<slug:slug>/", signals.OneSignal.as_view()),
]
