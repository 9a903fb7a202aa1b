"""Answers to checks can no longer be changed."""

from django.db import migrations

from labeling import triggers


def up(apps, schema_editor):
    triggers.create(triggers.CHECKS, schema_editor)


def down(apps, schema_editor):
    triggers.drop(triggers.CHECKS, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("labeling", "0004_checks")]
    operations = [migrations.RunPython(up, down)]
