"""The rows of labelling. What the database can hold, it holds: uniqueness, states, immutability of frozen rows."""

from labeling.models.checks import CheckAnswer, KnownAnswer, KnownItem, PracticeAnswer, PracticeItem, PracticeRound
from labeling.models.conversations import WHOLE, Conversation
from labeling.models.gold import Dataset, DatasetVersion, GoldRow
from labeling.models.labels import Label, Ruling, Submission
from labeling.models.notices import Delivery, Notice, Subscription
from labeling.models.people import ApiToken, User
from labeling.models.privacy import OriginalReading, Privacy
from labeling.models.queues import MOST_CHECKS, Item, Queue, QueueMember, QueueSignal, Slot
from labeling.models.signals import Category, Guideline, Signal

__all__ = [
    "MOST_CHECKS",
    "WHOLE",
    "ApiToken",
    "Category",
    "CheckAnswer",
    "Conversation",
    "Dataset",
    "DatasetVersion",
    "Delivery",
    "GoldRow",
    "Guideline",
    "Item",
    "KnownAnswer",
    "KnownItem",
    "Label",
    "Notice",
    "OriginalReading",
    "PracticeAnswer",
    "PracticeItem",
    "PracticeRound",
    "Privacy",
    "Queue",
    "QueueMember",
    "QueueSignal",
    "Ruling",
    "Signal",
    "Slot",
    "Submission",
    "Subscription",
    "User",
]
