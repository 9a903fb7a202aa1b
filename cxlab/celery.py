"""The Celery application. Long work is a row first; a task takes its id and can be killed and resumed anywhere."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cxlab.settings")

app = Celery("cxlab")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
