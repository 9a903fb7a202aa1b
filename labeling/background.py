"""Work for later: a task is sent when the transaction that asks for it has been committed, never before.

Every such task has a row first and a regular sweep behind it: a message that is lost costs time, not work.
"""

from __future__ import annotations

from celery import current_app
from django.db import transaction


def later(task: str, *arguments: int | str) -> None:
    """Send a task by its name on commit; a broker that cannot be reached is logged, and the sweep takes over."""
    transaction.on_commit(lambda: current_app.send_task(task, args=list(arguments)), robust=True)
