"""The project: settings, addresses, and the one place where errors become answers."""

from cxlab.celery import app as celery_app

__all__ = ["celery_app"]
