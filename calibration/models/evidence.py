"""Evidence about versions: tables of pairs, reports, gate decisions. Immutable, hence cacheable for ever."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from calibration.models.classifiers import Classifier, ClassifierVersion
from labeling.models import DatasetVersion


class PairTable(models.Model):
    """The confusion of one frozen dataset version with one pinned classifier version, computed once.

    `fingerprint` says which predictions went in (their number and the newest), since predictions may still arrive:
    another fingerprint is another table, and the newest replaces the one before.
    """

    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="pair_tables")
    version = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="pair_tables")
    fingerprint = models.CharField(max_length=64)
    paired = models.PositiveIntegerField()
    missing = models.PositiveIntegerField(help_text="Gold units without an answer of this version.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset_version", "version", "fingerprint"], name="pair_table_once")
        ]


class PairCell(models.Model):
    """Counts and weight sums of one (channel, cohort, stratum, gold, predicted); weights are 1/inclusion probability.

    `status` is that of the prediction; units without an answer are kept too, under an empty `predicted`. Interval
    signals have no categories: their cells are slices with the sums of powers of both numbers in `moments`.
    """

    table = models.ForeignKey(PairTable, on_delete=models.CASCADE, related_name="cells")
    channel = models.CharField(max_length=60)
    cohort = models.CharField(max_length=200)
    stratum = models.CharField(max_length=400, blank=True)
    gold = models.TextField()
    predicted = models.TextField()
    status = models.CharField(max_length=10, default="ok")
    n = models.PositiveBigIntegerField()
    sum_w = models.FloatField()
    sum_w2 = models.FloatField()
    moments = models.JSONField(null=True, blank=True)


class VoteCell(models.Model):
    """Units of one slice of a dataset version on which people voted alike; kept with its first table of pairs.

    Only units with two labels or more: what human agreement is made of. `digest` is over votes and annotators.
    """

    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="vote_cells")
    channel = models.CharField(max_length=60)
    cohort = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)
    votes = models.JSONField()
    annotators = models.PositiveSmallIntegerField()
    units = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset_version", "channel", "cohort", "digest"], name="vote_cell_once")
        ]


class AgreementReport(models.Model):
    """A report as it was given, under a permanent address: the same bytes a year later."""

    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="reports")
    classifier = models.ForeignKey(Classifier, on_delete=models.PROTECT, related_name="reports")
    by = models.JSONField(default=list)
    versions = models.JSONField(default=list)
    method = models.PositiveSmallIntegerField(help_text="Version of the methods; another one is another report.")
    input_sha256 = models.CharField(max_length=64, unique=True)
    document = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)


class GateRun(models.Model):
    """A policy held against a candidate version, and what came of it."""

    policy = models.TextField()
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="gate_runs")
    candidate = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="gate_runs")
    baseline = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    passed = models.BooleanField()
    document = models.JSONField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
