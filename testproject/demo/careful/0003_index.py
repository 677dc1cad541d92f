from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_columns")]
    operations = [
        AddIndexConcurrently("order", models.Index(fields=["status", "-placed_at"], name="order_worklist")),
    ]
