import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        # Orders of the old release get these from the database.
        migrations.AddField("order", "currency", models.CharField(max_length=3, default="EUR", db_default="EUR")),
        migrations.AddField("order", "total", models.DecimalField(max_digits=10, decimal_places=2, db_default=0)),
        migrations.AddField("order", "public_id", models.UUIDField(null=True)),
        migrations.AlterField(
            "order", "public_id", models.UUIDField(default=uuid.uuid4, null=True, db_default=RandomUUID())
        ),
        # The new release doesn't know these any more; their columns go with the second release.
        migrations.AlterField("order", "coupon", models.CharField(max_length=20, blank=True, db_default="")),
        migrations.AlterField(
            "order",
            "courier",
            models.ForeignKey("shop.courier", models.SET_NULL, null=True, related_name="orders", db_constraint=False),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField("order", "coupon"),
                migrations.RemoveField("order", "courier"),
            ]
        ),
    ]
