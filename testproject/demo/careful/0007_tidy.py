import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0006_second_release")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE shop_order DROP COLUMN coupon, DROP COLUMN courier_id",
            "ALTER TABLE shop_order ADD COLUMN coupon varchar(20) NOT NULL DEFAULT '', ADD COLUMN courier_id bigint",
        ),
        migrations.AlterField("order", "currency", models.CharField(max_length=3, default="EUR")),
        migrations.AlterField("order", "total", models.DecimalField(max_digits=10, decimal_places=2, default=0)),
        migrations.AlterField("order", "public_id", models.UUIDField(default=uuid.uuid4, unique=True)),
    ]
