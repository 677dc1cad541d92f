"""No contract without a snapshot of the last hour, on Amazon RDS.

SAFEMIGRATIONS = {"CONTRACT_REQUIRES": "shop.snapshot:is_recent"}
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3

INSTANCES = {"default": "shop-production"}  # alias of the database -> its instance
RECENT = timedelta(hours=1)


def is_recent(database: str) -> bool:
    """Has a snapshot of this database been finished within the last hour?"""
    pages = (
        boto3.client("rds").get_paginator("describe_db_snapshots").paginate(DBInstanceIdentifier=INSTANCES[database])
    )
    return any(
        snapshot["Status"] == "available" and datetime.now(UTC) - snapshot["SnapshotCreateTime"] < RECENT
        for page in pages
        for snapshot in page["DBSnapshots"]
    )
