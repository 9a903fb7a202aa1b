"""A person's own keys on the labelling page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labeling.errors import Refused
from labeling.models import User

# Commands that can lie on another key, and the key that they have by themselves.
COMMANDS = {
    "undo": "Backspace",
    "skip": "s",
    "flag": "f",
    "comment": "c",
    "next_turn": "j",
    "previous_turn": "k",
    "play": " ",
    "back": "b",
    "play_turn": "p",
    "slower": ",",
    "faster": ".",
    "follow": "l",
    "reference": "r",
    "guideline": "h",
    "help": "?",
}
# What each does, as the sheet of keys says it.
WORDS = {
    "undo": "undo: back to the last item",
    "skip": "skip with a reason",
    "flag": "flag: something is wrong with the item",
    "comment": "comment, certainty",
    "next_turn": "next turn",
    "previous_turn": "previous turn",
    "play": "play or pause",
    "back": "back one second",
    "play_turn": "play the marked turn",
    "slower": "slower",
    "faster": "faster",
    "follow": "follow the speaker, or stop following",
    "reference": "show or hide what was really said",
    "guideline": "guideline",
    "help": "all keys",
}
SHOWN = {" ": "Space", "Backspace": "⌫", "ArrowLeft": "←", "ArrowRight": "→"}
"""How a badge shows a key whose name is long or unseen; desk.js says the same after a change."""
NAMED = ("Backspace", "Delete", "Tab", "Insert", "Home", "End", "PageUp", "PageDown", "ArrowLeft", "ArrowRight")


def keys_of(user: User) -> dict[str, str]:
    """Every command with its key for this person."""
    return COMMANDS | {name: key for name, key in user.keymap.items() if name in COMMANDS}


def shown(user: User) -> dict[str, str]:
    """Every command with what its badge says."""
    return {name: SHOWN.get(key, key) for name, key in keys_of(user).items()}


def save(*, user: User, keys: Mapping[str, Any]) -> dict[str, str]:
    """Store a person's own keys and return all of them; commands left out go back to their usual key."""
    for name, key in keys.items():
        if name not in COMMANDS:
            raise Refused("unknown_command", f"{name!r} is not one of {', '.join(COMMANDS)}", field=name)
        if not isinstance(key, str) or not (key in NAMED or (len(key) == 1 and key.isprintable())):
            raise Refused("bad_key", "a key is one character, or a named key such as Backspace", field=name)
    merged = COMMANDS | dict(keys)
    for name, key in merged.items():
        same = [other for other, used in merged.items() if used == key and other != name]
        if same:
            raise Refused("key_used_twice", f"{key!r} is on {name} and on {same[0]}", field=name)
    own = {name: key for name, key in merged.items() if key != COMMANDS[name]}
    User.objects.filter(id=user.id).update(keymap=own)
    user.keymap = own
    return merged
