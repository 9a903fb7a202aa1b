from typing import Any

from django.db import migrations, models
from django.db.models import Max
from django.db.models.functions import Coalesce


def of_earlier_promotions(apps: Any, schema_editor: Any) -> None:
    """Maps that were promoted before the border was kept: the last day among their mapped predictions."""
    prediction = apps.get_model("calibration", "Prediction")
    rows = apps.get_model("calibration", "Recalibration").objects.filter(promoted__isnull=False)
    for row in rows.exclude(fit__kind="version"):
        mapped = prediction.objects.filter(version=row.promoted_id, metadata__has_key="mapped_from")
        last = mapped.aggregate(last=Max(Coalesce("predicted_at", "conversation__started_at")))["last"]
        row.mapped_until = last.date() if last else None
        row.save(update_fields=["mapped_until"])


class Migration(migrations.Migration):
    dependencies = [("calibration", "0012_fitted_versions_and_budgets")]

    operations = [
        migrations.AddField(
            model_name="recalibration",
            name="mapped_until",
            field=models.DateField(
                blank=True,
                help_text="The last day whose scores were mapped on promotion; what comes later was scored.",
                null=True,
            ),
        ),
        migrations.RunPython(of_earlier_promotions, migrations.RunPython.noop),
    ]
