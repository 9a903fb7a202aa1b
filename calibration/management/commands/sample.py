"""`manage.py sample QUEUE --signal S --size N --strategy …`: draw a queue."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import CommandParser

from calibration import classifiers, rounds, sampling
from labeling import checks, references
from labeling.errors import NotFound, Refused
from labeling.frames import ROLES, Frame
from labeling.management.base import VerbCommand
from labeling.models import Queue
from labeling.sampling import people_named, signals_named


class Command(VerbCommand):
    help = "Draw a queue of items to be labelled, each with its inclusion probability."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", help="its name; with --top-up one that exists")
        parser.add_argument("--signal", action="append", default=[], help="what is asked; again or a,b for several")
        parser.add_argument("--size", type=int, help="items; the whole frame where it is smaller")
        parser.add_argument("--strategy", choices=sampling.STRATEGIES, default="uniform")
        parser.add_argument("--by", default="", help="strata: channel,cohort,source or attributes")
        parser.add_argument("--allocation", choices=("proportional", "equal", "neyman"), default="proportional")
        parser.add_argument("--pilot", metavar="D@N", help="gold from which a neyman allocation learns the spreads")
        parser.add_argument("--classifier", action="append", default=[], metavar="C[@V]", help="whose predictions")
        parser.add_argument("--seed", type=int, help="the same seed on the same data draws the same items")
        parser.add_argument("--overlap", type=int, default=1, help="labels an item")
        parser.add_argument("--member", action="append", default=[], metavar="NAME", help="who labels; repeatable")
        parser.add_argument("--title", default="")
        mix = parser.add_argument_group("mixed in: hidden repeats, gold checks, practice")
        mix.add_argument(
            "--gold", action="append", default=[], metavar="D@N", help="frozen gold whose answers are known"
        )
        mix.add_argument(
            "--gold-share", type=float, metavar="SHARE", help="gold checks, 0 to 0.5 of what a person gets"
        )
        mix.add_argument("--gold-feedback", action="store_true", default=None, help="tell the known answer right after")
        mix.add_argument("--repeat-share", type=float, metavar="SHARE", help="items asked again of the same person")
        mix.add_argument("--practice-size", type=int, metavar="N", help="the queue opens after so many known items")
        parser.add_argument("--top-up", action="store_true", help="add items to the queue that exists")
        parser.add_argument(
            "--unsettled", metavar="D@N", help="with --top-up: a round for the slices without a verdict on this gold"
        )
        frame = parser.add_argument_group("frame: what may be drawn")
        for name in ("channel", "cohort", "source"):
            frame.add_argument(f"--{name}", action="append", default=[], metavar="NAME")
        frame.add_argument("--since", type=date.fromisoformat, metavar="DAY")
        frame.add_argument("--until", type=date.fromisoformat, metavar="DAY", help="both days are included")
        frame.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE")
        frame.add_argument("--role", action="append", default=[], choices=ROLES, help="whose turns, for turn signals")

    def run(self, **options: Any) -> None:
        queue = self.topped_up(options) if options["top_up"] else self.drawn(options)
        self.stdout.write(f"{queue.slug} items={queue.items.count()}")

    def drawn(self, options: dict[str, Any]) -> Queue:
        if options["size"] is None:
            raise Refused("no_size", "say how many items: --size 200", field="size")
        signals = signals_named(words(options["signal"]))
        if not signals:
            raise Refused("no_signal", "name a signal: --signal sentiment", field="signal")
        pilot = options["pilot"]
        aim = sampling.Aim(
            strategy=options["strategy"],
            by=tuple(words([options["by"]])),
            allocation=options["allocation"],
            pilot=references.dataset_version(pilot) if pilot else None,
            classifiers=tuple(words(options["classifier"])),
        )
        members = people_named(words(options["member"]))
        queue = sampling.draw_queue(
            slug=options["queue"],
            title=options["title"],
            signals=signals,
            size=options["size"],
            aim=aim,
            frame=frame_of(options),
            seed=options["seed"],
            overlap=options["overlap"],
            members=members,
            gold=[references.dataset_version(name) for name in words(options["gold"])],
            settings={name: options[name] for name in checks.SETTINGS if options.get(name) is not None},
        )
        self.tell(queue, few=not members)
        return queue

    def topped_up(self, options: dict[str, Any]) -> Queue:
        queue = Queue.objects.filter(slug=options["queue"]).first()
        if queue is None:
            raise NotFound("unknown_queue", f"there is no queue {options['queue']!r}", field="queue")
        if options["unsettled"]:
            return self.next_round(queue, options)
        if options["size"] is None:
            raise Refused("no_size", "say how many items: --size 50, or --unsettled D@N", field="size")
        more = sampling.top_up(queue=queue, size=options["size"], seed=options["seed"])
        self.stderr.write(f"{more} items added")
        return queue

    def next_round(self, queue: Queue, options: dict[str, Any]) -> Queue:
        names = words(options["classifier"])
        if len(names) != 1:
            raise Refused("no_version", "name whose verdicts: --classifier judge@2026-03", field="classifier")
        added = rounds.top_up(
            queue=queue,
            dataset_version=references.dataset_version(options["unsettled"]),
            version=classifiers.version_named(names[0]),
            seed=options["seed"],
        )
        for name, count in added.items():
            self.stderr.write(f"{name}: {count} items added")
        return queue

    def tell(self, queue: Queue, *, few: bool) -> None:
        """What is worth knowing besides, on stderr."""
        plan = queue.design
        if plan["asked"] > plan["population"]:
            self.stderr.write(
                f"the frame has {plan['population']} units, {plan['asked']} were asked for: all are taken"
            )
        if plan["left_out"]:
            self.stderr.write(f"{plan['left_out']} units that the strategy does not draw from are left out")
        self.stderr.write(f"seed {queue.seed}, {len(plan['strata'])} strata, {plan['population']} units in the frame")
        if few:
            self.stderr.write(f"nobody may label it yet: name --member, or add people at /queues/{queue.slug}/")


def words(texts: list[str]) -> list[str]:
    """Repeated options and comma lists alike."""
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def frame_of(options: dict[str, Any]) -> Frame:
    attributes = {}
    for text in options["attribute"]:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise Refused("bad_attribute", f"{text!r}: write NAME=VALUE", field="attribute")
        attributes[name] = value
    return Frame(
        channels=tuple(options["channel"]),
        cohorts=tuple(options["cohort"]),
        sources=tuple(options["source"]),
        since=options["since"],
        until=options["until"],
        attributes=attributes,
        roles=tuple(options["role"]),
    )
