"""Who withdrew a ruling. On SQLite the table is made anew, without its triggers: they are put up again, with one more."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from labeling import triggers

OF_RULINGS = [guard for guard in triggers.LABELING if guard.table == "labeling_ruling"]


def take_down_the_old(apps, schema_editor):
    triggers.drop(OF_RULINGS, schema_editor)


def put_up_the_old(apps, schema_editor):
    triggers.create(OF_RULINGS, schema_editor)


def take_down_all(apps, schema_editor):
    triggers.drop([*OF_RULINGS, *triggers.RULINGS], schema_editor)


def put_up_all(apps, schema_editor):
    triggers.create([*OF_RULINGS, *triggers.RULINGS], schema_editor)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("labeling", "0008_waiting_checks"),
    ]
    operations = [
        migrations.RunPython(take_down_the_old, put_up_the_old),
        migrations.AddField(
            model_name="ruling",
            name="withdrawn_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="ruling",
            constraint=models.CheckConstraint(
                condition=models.Q(("withdrawn_by__isnull", True), ("superseded_at__isnull", False), _connector="OR"),
                name="ruling_withdrawn_at_a_time",
            ),
        ),
        migrations.RunPython(put_up_all, take_down_all),
    ]
