"""The rows of labelling. What the database can hold, it holds: uniqueness, states, immutability of frozen rows."""

from labeling.models.conversations import WHOLE, Conversation
from labeling.models.gold import Dataset, DatasetVersion, GoldRow
from labeling.models.labels import Label, Ruling, Submission
from labeling.models.people import ApiToken, User
from labeling.models.queues import Item, Queue, QueueMember, QueueSignal, Slot
from labeling.models.signals import Category, Guideline, Signal

__all__ = [
    "WHOLE",
    "ApiToken",
    "Category",
    "Conversation",
    "Dataset",
    "DatasetVersion",
    "GoldRow",
    "Guideline",
    "Item",
    "Label",
    "Queue",
    "QueueMember",
    "QueueSignal",
    "Ruling",
    "Signal",
    "Slot",
    "Submission",
    "User",
]
