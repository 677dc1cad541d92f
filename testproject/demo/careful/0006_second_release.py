from django.db import migrations
from django.db.models import F


def fill_again(apps, schema_editor):
    """Orders that the old release placed after the first time."""
    orders = apps.get_model("shop", "Order").objects.using(schema_editor.connection.alias)
    orders.exclude(total=F("subtotal") + F("shipping")).update(total=F("subtotal") + F("shipping"))


class Migration(migrations.Migration):
    dependencies = [("shop", "0005_unique")]
    operations = [
        migrations.RunPython(fill_again, migrations.RunPython.noop),
    ]
