"""Pinned versions and reports can no longer be changed."""

from django.db import migrations

from labeling import triggers


def up(apps, schema_editor):
    triggers.create(triggers.CALIBRATION, schema_editor)


def down(apps, schema_editor):
    triggers.drop(triggers.CALIBRATION, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("calibration", "0005_tracing")]
    operations = [migrations.RunPython(up, down)]
