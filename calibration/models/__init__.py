"""The rows of calibration: pinned versions, their predictions, and the evidence about them."""

from calibration.models.canaries import Canary, CanaryAnswer, CanaryRound, CanarySet
from calibration.models.classifiers import (
    Artefact,
    Classifier,
    ClassifierVersion,
    FittedOn,
    Outcome,
    Prediction,
    PredictionRollup,
    ScoringRun,
)
from calibration.models.evidence import AgreementReport, GateRun, PairCell, PairTable, VoteCell
from calibration.models.monitoring import DriftFlag, FlagEvent, Monitor, Recalibration
from calibration.models.tracing import Span, TraceBatch
from calibration.models.voice import Transcription

__all__ = [
    "AgreementReport",
    "Artefact",
    "Canary",
    "CanaryAnswer",
    "CanaryRound",
    "CanarySet",
    "Classifier",
    "ClassifierVersion",
    "DriftFlag",
    "FittedOn",
    "FlagEvent",
    "GateRun",
    "Monitor",
    "Outcome",
    "PairCell",
    "PairTable",
    "Prediction",
    "PredictionRollup",
    "Recalibration",
    "ScoringRun",
    "Span",
    "TraceBatch",
    "Transcription",
    "VoteCell",
]
