"""What the verbs of calibration refuse: the same family, under its own name."""

from __future__ import annotations

from labeling.errors import Refused


class NotComparable(Refused):
    """Gold and classifier do not belong together: another signal, another scale, no common items."""


class EvidenceRefused(Refused):
    """There is too little evidence to say what was asked for, or an assumption of the method does not hold."""
