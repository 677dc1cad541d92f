"""The databases of the demo: one is filled by PostgreSQL itself, each side gets a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Identifier

STATEMENTS = """
INSERT INTO shop_customer (id, name, email)
SELECT n, 'Customer ' || n, 'customer' || n || '@example.org' FROM generate_series(1, {customers}) n;

INSERT INTO shop_product (id, name, price, stock)
SELECT n, 'Product ' || n, 1 + n % 90, 1000000 FROM generate_series(1, {products}) n;

INSERT INTO shop_courier (id, name, active)
SELECT n, 'Courier ' || n, n % 2 = 0 FROM generate_series(1, {couriers}) n;

INSERT INTO shop_order (id, customer_id, courier_id, status, placed_at, subtotal, shipping, coupon)
SELECT n, 1 + n % {customers}, 1 + n % {couriers}, CASE WHEN n % 50 = 0 THEN 'new' ELSE 'sent' END,
       now() - ({orders} - n) * interval '1 minute', 10 + n % 190, 4.90,
       CASE WHEN n % 3 = 0 THEN 'WELCOME' ELSE '' END
FROM generate_series(1, {orders}) n;

INSERT INTO shop_orderline (order_id, product_id, quantity, price)
SELECT n, 1 + (n * 7 + line) % {products}, line, 1 + n % 90
FROM generate_series(1, {orders}) n, generate_series(1, 2) line;

INSERT INTO shop_cartitem (customer_id, product_id, quantity)
SELECT n, 1 + n % {products}, 1 FROM generate_series(1, {customers}) n
"""


@contextmanager
def database(conninfo: str, name: str, *, copy_of: str | None = None) -> Iterator[str]:
    drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
    template = SQL(" TEMPLATE {}").format(Identifier(copy_of)) if copy_of else SQL("")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(SQL("CREATE DATABASE {}{}").format(Identifier(name), template))
        try:
            yield name
        finally:
            connection.execute(drop)


def fill(conninfo: str, name: str, *, orders: int) -> int:
    """Insert this many orders and what belongs to them; return the number of rows."""
    sizes = {"orders": orders, "customers": max(100, orders // 10), "products": 1000, "couriers": 1000}
    with psycopg.connect(conninfo, dbname=name, autocommit=True) as connection:
        statements = STATEMENTS.format(**sizes).strip().split(";\n")
        rows = sum(connection.execute(statement).rowcount for statement in statements)
        # Ids that are given don't move a sequence.
        for table in ("shop_customer", "shop_product", "shop_courier", "shop_order"):
            sequence = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(f"SELECT setval({sequence}, max(id)) FROM {table}")
        connection.execute("VACUUM ANALYZE")
    return rows
