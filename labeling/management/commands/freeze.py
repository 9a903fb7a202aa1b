"""`freeze DATASET --signal S`: make the next version of a gold dataset."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from labeling import gold
from labeling.aggregation import AGGREGATIONS
from labeling.errors import NotFound
from labeling.management.base import VerbCommand
from labeling.models import Queue, Signal


class Command(VerbCommand):
    help = "Freeze the current labels of a signal into the next version of a gold dataset."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", metavar="DATASET")
        parser.add_argument("--signal", required=True)
        parser.add_argument(
            "--queue", action="append", default=[], metavar="Q", help="only labels of this queue; repeatable"
        )
        parser.add_argument("--aggregation", default="majority", choices=AGGREGATIONS)
        parser.add_argument("--min-labels", type=int, default=1, metavar="M")
        parser.add_argument("--title", default="")

    def run(self, **options: Any) -> int | None:
        version = gold.freeze(
            dataset=options["dataset"],
            signal=signal_named(options["signal"]),
            queues=[queue_named(slug) for slug in options["queue"]],
            aggregation=options["aggregation"],
            min_labels=options["min_labels"],
            title=options["title"],
            now=timezone.now(),
        )
        self.stdout.write(
            f"{version} sha256:{version.sha256} items={version.item_count} unresolved={version.unresolved_count}"
        )
        return None


def signal_named(slug: str) -> Signal:
    """The signal of a command's argument; raises NotFound."""
    signal = Signal.objects.filter(slug=slug).first()
    if signal is None:
        raise NotFound("unknown_signal", f"there is no signal {slug!r}", field="--signal")
    return signal


def queue_named(slug: str) -> Queue:
    """The queue of a command's argument; raises NotFound."""
    queue = Queue.objects.filter(slug=slug).first()
    if queue is None:
        raise NotFound("unknown_queue", f"there is no queue {slug!r}", field="--queue")
    return queue
