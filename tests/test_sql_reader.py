"""SQL that people write: each hazard and its twin, which differs in nothing but the hazard."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Concat, Lower

from safemigrations.checking.catalogue import BY_ID
from safemigrations.checking.handwritten import texts_of
from safemigrations.checking.hazard import Hazard, NotUnderstood
from safemigrations.checking.refused import without_server
from safemigrations.checking.scene import Scene
from safemigrations.checking.sql import reader
from safemigrations.operations import AddIndexConcurrently, Backfill
from safemigrations.operations.base import Situation

from .shop import KEY

MODELS = [
    migrations.CreateModel("Customer", [KEY, ("name", models.CharField(max_length=50))]),
    migrations.CreateModel(
        "Order",
        [
            KEY,
            ("number", models.CharField(max_length=20, unique=True)),
            ("state", models.CharField(max_length=10, null=True)),
            ("source", models.CharField(max_length=10, db_default="web")),
            ("total", models.DecimalField(max_digits=8, decimal_places=2)),
            ("pieces", models.IntegerField(null=True)),
            ("remark", models.TextField(null=True)),
            ("customer", models.ForeignKey("shop.Customer", models.CASCADE)),
        ],
        {
            "constraints": [
                models.CheckConstraint(condition=models.Q(pieces__isnull=False), name="order_has_pieces"),
                models.UniqueConstraint(fields=["customer", "state"], name="order_once"),
            ]
        },
    ),
]


def scene(*, atomic: bool = False, **rest: Any) -> Scene:
    state = ProjectState()
    for operation in MODELS:
        operation.state_forwards("shop", state)
    return Scene(state, atomic=atomic, **rest)


def said(sql: str, at: Scene | None = None) -> list[Hazard | NotUnderstood]:
    return list(reader.read(sql, at or scene()))


def ids(sql: str, at: Scene | None = None) -> list[str]:
    """Without what they all begin with; "?" for what is not understood."""
    return [one.id.rpartition(".")[2] if isinstance(one, Hazard) else "?" for one in said(sql, at)]


ORDER = "ALTER TABLE shop_order"
PAIRS: dict[str, tuple[str, str, str]] = {  # what: id, the hazard, its twin
    "index": ("E200", "CREATE INDEX i ON shop_order (state)", "CREATE INDEX CONCURRENTLY i ON shop_order (state)"),
    "index of a partitioned table": ("E200", "CREATE INDEX i ON m (at)", "CREATE INDEX i ON ONLY m (at)"),
    "reindex": ("E200", "REINDEX TABLE shop_order", "REINDEX TABLE CONCURRENTLY shop_order"),
    "unique": ("E200", f"{ORDER} ADD CONSTRAINT u UNIQUE (state)", f"{ORDER} ADD CONSTRAINT u UNIQUE USING INDEX u"),
    "primary key": ("E200", f"{ORDER} ADD PRIMARY KEY (number)", f"{ORDER} ADD PRIMARY KEY USING INDEX n"),
    "unique column": ("E200", f"{ORDER} ADD COLUMN c int UNIQUE", f"{ORDER} ADD COLUMN c int"),
    "in a string of several": (
        "E201",
        "CREATE INDEX CONCURRENTLY i ON shop_order (state); SELECT 1",
        "CREATE INDEX CONCURRENTLY i ON shop_order (state);",
    ),
    "drop in a string of several": (
        "E201",
        "DROP INDEX CONCURRENTLY i; SET lock_timeout = '1s'",
        "DROP INDEX CONCURRENTLY i",
    ),
    "varchar narrower": ("E202", f"{ORDER} ALTER state TYPE varchar(5)", f"{ORDER} ALTER state TYPE varchar(20)"),
    "varchar converted": ("E202", f"{ORDER} ALTER state TYPE int USING state::int", f"{ORDER} ALTER state TYPE text"),
    "numeric scale": ("E202", f"{ORDER} ALTER total TYPE numeric(10, 3)", f"{ORDER} ALTER total TYPE numeric(10, 2)"),
    "integer": ("E202", f"{ORDER} ALTER pieces TYPE bigint", f"{ORDER} ALTER pieces TYPE integer"),
    "volatile": ("E202", f"{ORDER} ADD c uuid DEFAULT gen_random_uuid()", f"{ORDER} ADD c timestamptz DEFAULT now()"),
    "serial": ("E202", f"{ORDER} ADD c bigserial", f"{ORDER} ADD c bigint"),
    "identity": ("E202", f"{ORDER} ADD c int GENERATED ALWAYS AS IDENTITY", f"{ORDER} ADD c int"),
    "stored": (
        "E202",
        f"{ORDER} ADD c int GENERATED ALWAYS AS (pieces * 2) STORED",
        f"{ORDER} ADD c int GENERATED ALWAYS AS (pieces * 2) VIRTUAL",
    ),
    "tablespace": ("E202", f"{ORDER} SET TABLESPACE fast", f"{ORDER} SET (fillfactor = 90)"),
    "logged": ("E202", f"{ORDER} SET UNLOGGED", f"{ORDER} ALTER state SET STATISTICS 500"),
    "full": ("E202", "VACUUM FULL shop_order", "VACUUM shop_order"),
    "cluster": ("E202", "CLUSTER shop_order USING i", f"{ORDER} CLUSTER ON i"),
    "refresh": ("E202", "REFRESH MATERIALIZED VIEW m", "REFRESH MATERIALIZED VIEW CONCURRENTLY m"),
    "not null": ("E203", f"{ORDER} ALTER state SET NOT NULL", f"{ORDER} ALTER pieces SET NOT NULL"),
    "not null, the check goes with it": (
        "E203",
        f"{ORDER} ALTER pieces SET NOT NULL, DROP CONSTRAINT order_has_pieces",
        f"{ORDER} ALTER pieces SET NOT NULL, DROP CONSTRAINT order_once",
    ),
    "check": (
        "E203",
        f"{ORDER} ADD CONSTRAINT c CHECK (total > 0)",
        f"{ORDER} ADD CONSTRAINT c CHECK (total > 0) NOT VALID",
    ),
    "column with a check": ("E203", f"{ORDER} ADD c int CHECK (c > 0)", f"{ORDER} ADD c int"),
    "partition": ("E203", f"{ORDER} ATTACH PARTITION p FOR VALUES IN (1)", f"{ORDER} DETACH PARTITION p"),
    "domain": (
        "E203",
        "ALTER DOMAIN d ADD CONSTRAINT c CHECK (value > 0)",
        "ALTER DOMAIN d ADD CONSTRAINT c CHECK (value > 0) NOT VALID",
    ),
    "foreign key": (
        "E204",
        f"{ORDER} ADD CONSTRAINT f FOREIGN KEY (pieces) REFERENCES shop_customer (id)",
        f"{ORDER} ADD CONSTRAINT f FOREIGN KEY (pieces) REFERENCES shop_customer (id) NOT VALID",
    ),
    "column that points, with a default": (
        "E204",
        f"{ORDER} ADD c bigint DEFAULT 1 REFERENCES shop_customer",
        f"{ORDER} ADD c bigint REFERENCES shop_customer",
    ),
    "using a cast": (
        "E202",
        f"{ORDER} ALTER state TYPE varchar(20) USING state::varchar(5)",
        f"{ORDER} ALTER state TYPE varchar(20) USING state::varchar(15)",
    ),
    "using another column": (
        "E202",
        f"{ORDER} ALTER state TYPE varchar(20) USING number::varchar(20)",
        f"{ORDER} ALTER state TYPE varchar(20) USING state::varchar(20)",
    ),
    "view": (
        "E205",
        "DROP VIEW shop_customer",
        "DROP VIEW shop_customer; CREATE VIEW shop_customer AS SELECT 1 AS id, '' AS name",
    ),
    "rights of all": (
        "E205",
        "REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM web",
        "REVOKE CREATE ON SCHEMA public FROM web",
    ),
    "rights": ("E205", "REVOKE SELECT ON shop_order FROM web", "REVOKE SELECT ON shop_gone FROM web"),
    "owner": ("E205", f"{ORDER} OWNER TO archive", "ALTER TABLE shop_gone OWNER TO archive"),
    "rule": (
        "E205",
        "CREATE RULE r AS ON DELETE TO shop_order DO INSTEAD NOTHING",
        "CREATE RULE r AS ON DELETE TO shop_order DO ALSO NOTIFY gone",
    ),
    "row security": ("E205", f"{ORDER} ENABLE ROW LEVEL SECURITY", f"{ORDER} DISABLE ROW LEVEL SECURITY"),
    "drop column": ("E205", f"{ORDER} DROP COLUMN state", f"{ORDER} DROP COLUMN gone"),
    "drop the column of a relation": ("E205", f"{ORDER} DROP COLUMN customer_id", f"{ORDER} DROP COLUMN customer"),
    "drop table": ("E205", "DROP TABLE shop_order", "DROP TABLE shop_gone"),
    "drop quoted table": ("E205", 'DROP TABLE "public"."shop_order"', 'DROP TABLE "public"."shop_Order"'),
    "rename column": ("E205", f"{ORDER} RENAME COLUMN state TO status", f"{ORDER} RENAME COLUMN gone TO status"),
    "rename table": ("E205", f"{ORDER} RENAME TO orders", "ALTER TABLE shop_gone RENAME TO orders"),
    "schema": ("E205", f"{ORDER} SET SCHEMA old", "ALTER TABLE shop_gone SET SCHEMA old"),
    "truncate": ("E205", "TRUNCATE shop_order", "TRUNCATE shop_gone"),
    "value of an enum": ("E205", "ALTER TYPE t RENAME VALUE 'a' TO 'b'", "ALTER TYPE t ADD VALUE 'b'"),
    "cascade": ("E205", "DROP TYPE t CASCADE", "DROP TYPE t"),
    "not null column": ("E206", f"{ORDER} ADD c int NOT NULL", f"{ORDER} ADD c int NOT NULL DEFAULT 0"),
    "default": ("E206", f"{ORDER} ALTER source DROP DEFAULT", f"{ORDER} ALTER state DROP DEFAULT"),
    "default for a moment": (
        "E206",
        f"{ORDER} ADD c int NOT NULL DEFAULT 0; {ORDER} ALTER c DROP DEFAULT",
        f"{ORDER} ADD c int DEFAULT 0; {ORDER} ALTER c DROP DEFAULT",
    ),
    "drop index": ("E207", "DROP INDEX i", "DROP INDEX CONCURRENTLY i"),
    "lock": ("E208", "LOCK TABLE shop_order", "LOCK TABLE shop_order IN ROW SHARE MODE"),
    "update": ("E209", "UPDATE shop_order SET state = 'new'", "UPDATE shop_order SET state = 'new' WHERE id = 5"),
    "update some": (
        "E209",
        "UPDATE shop_order SET state = 'new' WHERE state IS NULL",
        "UPDATE shop_order SET state = 'new' WHERE number IN ('a', 'b')",
    ),
    "update of one, by two columns": (
        "E209",
        "UPDATE shop_order SET pieces = 1 WHERE customer_id = 3",
        "UPDATE shop_order SET pieces = 1 WHERE customer_id = 3 AND state = 'new'",
    ),
    "batch": (
        "E209",
        "UPDATE shop_order SET state = 'x' WHERE id IN (SELECT id FROM shop_order WHERE state IS NULL)",
        "UPDATE shop_order SET state = 'x' WHERE id IN (SELECT id FROM shop_order WHERE state IS NULL LIMIT 500)",
    ),
    "delete": ("E209", "DELETE FROM shop_order", "DELETE FROM shop_order WHERE number = 'a'"),
    "list of keys": (
        "E209",
        "DELETE FROM shop_order WHERE state = ANY ('{a,b}'::text[])",
        "DELETE FROM shop_order WHERE id = ANY ('{1,2}'::bigint[])",
    ),
    "list of values": (
        "E209",
        "UPDATE shop_order o SET state = v.s FROM (SELECT id, s FROM t) v WHERE v.id = o.id",
        "UPDATE shop_order o SET state = v.s FROM (VALUES (1, 'a'), (2, 'b')) v (id, s) WHERE v.id = o.id",
    ),
    "tables of Django": (
        "E209",
        "DELETE FROM django_session WHERE session_data = ''",
        "DELETE FROM django_migrations WHERE app = 'shop'",
    ),
    "merge": (
        "E209",
        "MERGE INTO shop_order o USING s ON s.id = o.id WHEN MATCHED THEN DELETE",
        "INSERT INTO shop_order (number) VALUES ('a')",
    ),
    "row locks": ("E209", "SELECT 1 FROM shop_order FOR UPDATE", "SELECT 1 FROM shop_order"),
    "validated in the same transaction": (
        "E210",
        f"{ORDER} ADD CONSTRAINT c CHECK (total > 0) NOT VALID; {ORDER} VALIDATE CONSTRAINT c",
        f"{ORDER} VALIDATE CONSTRAINT c",
    ),
    "rows in the same transaction": (
        "E210",
        f"{ORDER} ADD c int; INSERT INTO shop_order SELECT * FROM s",
        f"INSERT INTO shop_order SELECT * FROM s; {ORDER} ADD c int",
    ),
    "one row in the same transaction": (
        "E210",
        f"{ORDER} ADD c int; CREATE TABLE t AS SELECT * FROM shop_order",
        f"{ORDER} ADD c int; UPDATE shop_order SET c = 1 WHERE id = 3",
    ),
    "rows of a new table in the same transaction": (
        "E210",
        "CREATE TABLE t (c bigint REFERENCES shop_customer); INSERT INTO t SELECT id FROM shop_order",
        "CREATE TABLE t (c bigint REFERENCES shop_customer); INSERT INTO t SELECT u FROM t",
    ),
    "if not exists": (
        "W212",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON shop_order (state)",
        "CREATE INDEX CONCURRENTLY i ON shop_order (state)",
    ),
    "in a block": (
        "E209",
        "DO $$ BEGIN UPDATE shop_order SET state = 'new'; END $$",
        "DO $$ BEGIN UPDATE shop_order SET state = 'new' WHERE id = 3; END $$",
    ),
    "literal in a block": (
        "E205",
        "DO $$ BEGIN IF true THEN EXECUTE 'DROP TABLE shop_order'; END IF; END $$",
        "DO $$ BEGIN IF true THEN EXECUTE 'DROP TABLE shop_gone'; END IF; END $$",
    ),
    "after a comment": (
        "E200",
        "-- for the list\n/* of orders */ CREATE INDEX i ON shop_order (state)",
        "-- for the list\n/* of orders */ CREATE INDEX CONCURRENTLY i ON shop_order (state)",
    ),
}


@pytest.mark.parametrize("what", PAIRS)
def test_the_hazard_and_its_twin(what):
    id, hazard, twin = PAIRS[what]
    assert ids(hazard) == [id]
    assert ids(twin) == []


@pytest.mark.parametrize("what", [what for what, (_, hazard, _) in PAIRS.items() if "shop_order" in hazard])
def test_a_table_that_the_migration_makes_is_nobodys_yet(what):
    id, hazard, _ = PAIRS[what]
    at = scene()
    at.made |= {"shop_order", "i", "p"}  # an index that is dropped, a partition that is attached
    assert ids(hazard, at) == (["E201"] if id == "E201" else [])


def test_every_id_is_in_the_catalogue():
    assert {f"safemigrations.{id}" for id, _, _ in PAIRS.values()} <= set(BY_ID)


def test_what_a_transaction_refuses_is_refused_in_an_atomic_migration():
    assert ids("CREATE INDEX CONCURRENTLY i ON shop_order (state)", scene(atomic=True)) == ["E201"]
    assert ids("VACUUM shop_order", scene(atomic=True)) == ["E201"]


def test_a_transaction_goes_over_several_texts_of_an_atomic_migration():
    add, validate = f"{ORDER} ADD CONSTRAINT c CHECK (total > 0) NOT VALID", f"{ORDER} VALIDATE CONSTRAINT c"
    atomic, apart = scene(atomic=True), scene()
    assert (ids(add, atomic), ids(validate, atomic)) == ([], ["E210"])
    assert (ids(add, apart), ids(validate, apart)) == ([], [])


def test_a_value_of_an_enum_is_used_once_it_is_committed():
    add, use = "ALTER TYPE mood ADD VALUE 'calm'", f"{ORDER} ALTER state SET DEFAULT 'calm'"
    assert [ids(f"{add}; {use}"), ids(f"{add}; COMMIT; {use}")] == [["E201"], []]
    assert ids(f"CREATE TYPE mood AS ENUM (); {add}; {use}") == []
    assert ids(f"ALTER TYPE mood ADD VALUE IF NOT EXISTS 'angry' AFTER 'calm'; {use}") == []
    atomic = scene(atomic=True)
    assert [ids(add, atomic), ids(use, atomic)] == [[], ["E201"]]


def test_a_commit_ends_a_transaction():
    text = f"{ORDER} ADD CONSTRAINT c CHECK (total > 0) NOT VALID; COMMIT; {ORDER} VALIDATE CONSTRAINT c"
    assert ids(text) == []


NOT_NULL = f"{ORDER} ALTER state SET NOT NULL"
PROOF = f"{ORDER} ADD CONSTRAINT c CHECK (state IS NOT NULL) NOT VALID"


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ([PROOF, f"{ORDER} VALIDATE CONSTRAINT c"], []),
        ([f"{ORDER} ADD CONSTRAINT c CHECK (state IS NOT NULL)"], []),
        ([PROOF], ["E203"]),
        ([PROOF, f"{ORDER} VALIDATE CONSTRAINT c", f"{ORDER} DROP CONSTRAINT c"], ["E203"]),
        ([f"{ORDER} ADD CONSTRAINT c CHECK (pieces IS NOT NULL)"], ["E203"]),
    ],
    ids=["validated", "valid at once", "not valid", "gone", "another column"],
)
def test_a_check_of_an_earlier_migration_proves_not_null(earlier, expected):
    assert ids(NOT_NULL, scene(earlier=earlier)) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE EXTENSION pg_trgm",
        "COMMENT ON TABLE shop_order IS 'orders'",
        "GRANT SELECT ON shop_order TO reader",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER t BEFORE INSERT ON shop_order FOR EACH ROW EXECUTE FUNCTION f()",
        "ALTER SEQUENCE s RESTART WITH 5",
        "CREATE VIEW v AS SELECT * FROM shop_order",
        "SELECT setval('s', 5)",
        "SET statement_timeout = 0",
        f"{ORDER} DISABLE TRIGGER t",
        f"{ORDER} RENAME CONSTRAINT a TO b",
        f"{ORDER} ALTER state DROP NOT NULL",
        f"{ORDER} DROP CONSTRAINT order_once",
        "ALTER INDEX a RENAME TO b",
        "ALTER TABLE other ALTER x DROP DEFAULT",
        "CREATE TABLE t (id int REFERENCES shop_order (id)); CREATE INDEX i ON t (id); UPDATE t SET id = 1",
    ],
)
def test_what_hurts_nobody(sql):
    assert ids(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT migrate_orders()",
        "CALL migrate_orders()",
        "DO $$ BEGIN EXECUTE format('%s TABLE shop_order', what); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER TABLE %I DROP COLUMN note', name); END $$",
        "DO $$ BEGIN EXECUTE statement; END $$",
        "DO $$ BEGIN x := ; END $$",
        "CREATE INDEX CONCURENTLY i ON shop_order (state)",
        "{{ sql }}",
    ],
)
def test_what_is_not_understood_is_said(sql):
    assert ids(sql) == ["?"]


def test_the_line_within_the_text():
    (one,) = said("\n-- names\n\nSELECT 1;\n\nDROP INDEX i;\n")
    assert one.line == 5


# Forms of RunSQL.


@pytest.mark.parametrize(
    ("sql", "texts"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1; SELECT 2"]),
        (["SELECT 1", "SELECT 2"], ["SELECT 1", "SELECT 2"]),
        ([("SELECT %s, '%%'", [1]), ("SELECT %(a)s", {"a": 1})], ["SELECT $1, '%'", "SELECT $1"]),
        ([("SELECT '%'", None)], ["SELECT '%'"]),
        (migrations.RunSQL.noop, []),
        ([5], [None]),
    ],
)
def test_the_texts_of_run_sql(sql, texts):
    assert list(texts_of(migrations.RunSQL(sql))) == texts


# What is written instead.

NAMES = {
    "Backfill": Backfill,
    "AddIndexConcurrently": AddIndexConcurrently,
    "models": models,
    "F": F,
    "Q": Q,
    "Value": Value,
    "Coalesce": Coalesce,
    "Concat": Concat,
    "Lower": Lower,
    "Decimal": Decimal,
}
INSTEAD = {
    "UPDATE shop_order SET state = 'new'": Backfill("order", set={"state": "new"}),
    "UPDATE shop_order SET state = NULL WHERE NOT (total > 3 OR number IN ('a', 'b'))": Backfill(
        "order", set={"state": None}, where=~(Q(total__gt=3) | Q(number__in=["a", "b"]))
    ),
    "UPDATE shop_order SET customer_id = 4 WHERE customer_id <> 5 AND state IS NOT NULL": Backfill(
        "order", set={"customer": 4}, where=~Q(customer=5) & Q(state__isnull=False)
    ),
    "UPDATE shop_order SET state = coalesce(source, 'x') || lower(number) WHERE state IS NULL": Backfill(
        "order",
        set={"state": Concat(Coalesce(F("source"), Value("x")), Lower(F("number")))},
        where=Q(state__isnull=True),
    ),
    "UPDATE shop_order SET state = coalesce(remark, source) WHERE pieces = 1": Backfill(
        "order",
        set={"state": Coalesce(F("remark"), F("source"), output_field=models.TextField())},
        where=Q(pieces=1),
    ),
    "UPDATE shop_order SET remark = number || '!' || coalesce(remark, '') WHERE pieces = 1": Backfill(
        "order",
        set={
            "remark": Concat(
                Concat(F("number"), Value("!")),
                Coalesce(F("remark"), Value(""), output_field=models.TextField()),
                output_field=models.TextField(),
            )
        },
        where=Q(pieces=1),
    ),
    "UPDATE shop_order SET total = coalesce(total, 0.5), pieces = coalesce(pieces, 1) WHERE id < 9": Backfill(
        "order",
        set={"total": Coalesce(F("total"), Value(Decimal("0.5"))), "pieces": Coalesce(F("pieces"), Value(1))},
        where=Q(id__lt=9),
    ),
    "UPDATE shop_order SET pieces = pieces + 1 WHERE pieces < 10": Backfill(
        "order", set={"pieces": F("pieces") + 1}, where=Q(pieces__lt=10)
    ),
    "CREATE INDEX order_state ON shop_order (state, customer_id DESC)": AddIndexConcurrently(
        "order", models.Index(fields=["state", "-customer"], name="order_state")
    ),
}


def is_planned(operation: Backfill) -> bool:
    """Can Django write it as SQL?"""
    with without_server(connection).schema_editor(collect_sql=True, atomic=False) as editor:
        state = scene().state
        return bool(operation.expand(Situation("shop", editor, before=state, after=state)))


@pytest.mark.parametrize("sql", INSTEAD)
def test_the_operation_that_replaces_it(sql):
    (one,) = said(sql)
    assert isinstance(one, Hazard)
    begin, _, written = one.hint.partition("\n")
    assert begin == "Write, with atomic = False on the migration,"
    operation, expected = eval(written.strip(), dict(NAMES)), INSTEAD[sql]
    assert type(operation) is type(expected)
    if isinstance(operation, Backfill):
        assert isinstance(expected, Backfill)
        assert (operation.set, operation.where) == (expected.set, expected.where)
        assert is_planned(operation)
    else:
        assert operation.deconstruct() == expected.deconstruct()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE shop_order SET state = my_function(number)",
        "UPDATE shop_order SET state = c.name FROM shop_customer c WHERE c.id = customer_id",
        "UPDATE shop_order SET pieces = pieces + 1",
        "UPDATE shop_order SET pieces = 1 WHERE state <> 'new'",
        "UPDATE shop_order SET pieces = 1 WHERE state = NULL",
        "UPDATE shop_order SET number = number || state WHERE pieces = 1",
        "UPDATE shop_order SET total = coalesce(total, 0) WHERE pieces = 1",
        "UPDATE shop_order SET pieces = 1 WHERE NOT (state = 'new' AND total > 1)",
    ],
)
def test_what_has_no_plain_form_becomes_a_function_of_the_row(sql):
    (one,) = said(sql)
    assert isinstance(one, Hazard)
    assert "def fill_order(order):" in one.hint
    assert "Backfill('order', set=fill_order, where=...)" in one.hint


def test_what_belongs_to_another_app_is_written_there():
    at = scene()
    at.app_label = "billing"
    (one,) = said("UPDATE shop_order SET state = 'new'", at)
    assert isinstance(one, Hazard)
    assert one.hint == (
        "Write, in a migration of shop with atomic = False,\n    Backfill('order', set={'state': 'new'})"
    )
