"""Labels, rulings and frozen gold can no longer be changed."""

from django.db import migrations

from labeling import triggers


def up(apps, schema_editor):
    triggers.create(triggers.LABELING, schema_editor)


def down(apps, schema_editor):
    triggers.drop(triggers.LABELING, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("labeling", "0001_initial")]
    operations = [migrations.RunPython(up, down)]
