from django.contrib.postgres.functions import RandomUUID
from django.db import migrations
from django.db.models import F, Max
from django.db.models.functions import Coalesce

BATCH = 2_000


def fill(apps, schema_editor):
    orders = apps.get_model("shop", "Order").objects.using(schema_editor.connection.alias)
    last = orders.aggregate(last=Max("pk"))["last"] or 0
    for start in range(0, last + 1, BATCH):
        orders.filter(pk__range=(start, start + BATCH - 1)).update(
            total=F("subtotal") + F("shipping"), public_id=Coalesce("public_id", RandomUUID())
        )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0003_index")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
