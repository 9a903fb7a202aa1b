import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("calibration", "0013_recalibrated_scores_apart")]

    operations = [
        migrations.AddField(
            model_name="recalibration",
            name="tries",
            field=models.JSONField(default=list, help_text="Fits that were validated and put aside, the first first."),
        ),
        migrations.AlterField(
            model_name="recalibration",
            name="flag",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="recalibrations",
                to="calibration.driftflag",
            ),
        ),
        migrations.AddConstraint(
            model_name="recalibration",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "abandoned"), _negated=True),
                fields=("flag",),
                name="recalibration_once_a_flag",
            ),
        ),
    ]
