import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models

NAME = "shop_order_public_id_key"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0004_fill")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON shop_order (public_id)",
                    f"DROP INDEX CONCURRENTLY {NAME}",
                ),
                migrations.RunSQL(
                    f"ALTER TABLE shop_order ADD CONSTRAINT {NAME} UNIQUE USING INDEX {NAME}",
                    f"ALTER TABLE shop_order DROP CONSTRAINT {NAME}",
                ),
            ],
            [
                migrations.AlterField(
                    "order",
                    "public_id",
                    models.UUIDField(default=uuid.uuid4, unique=True, null=True, db_default=RandomUUID()),
                ),
            ],
        ),
    ]
