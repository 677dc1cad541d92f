"""Every id that a check may name: its title, its level, its page and what it fires on. docs/checks.md is written from
this list by tests/checks_page.py."""

from __future__ import annotations

import re

from ..data import Data
from ..operations.rule import Level

LEVEL: dict[str, Level] = {"E": "error", "W": "warning", "I": "note"}


class Kind(Data):
    """What one id stands for. The letter of the id is the level that its findings have unless they say otherwise."""

    id: str
    page: str  # of the docs; empty: checks.md itself
    title: str
    fires_on: str  # Markdown
    remedy: str = ""  # what to do, in general; a finding says it with the user's own names

    @property
    def level(self) -> Level:
        return LEVEL[self.id.rpartition(".")[2][0]]

    @property
    def help(self) -> str:
        """The page of the docs, relative to their folder."""
        return f"{self.page or 'checks'}.md"


KINDS: list[Kind] = [
    Kind(
        "safemigrations.E001",
        "add_index",
        "An index is built while nobody can write",
        "`AddIndex` on a table that exists",
    ),
    Kind(
        "safemigrations.E002",
        "remove_index",
        "An index is dropped while the old release still uses it",
        "`RemoveIndex`",
    ),
    Kind(
        "safemigrations.E010",
        "add_field_with_default",
        "A column is added that the old release doesn't fill",
        (
            "`AddField`, NOT NULL, with a default that PostgreSQL can hold; with a volatile `db_default`; a "
            "unique field with one default for all rows (refused); a stored `GeneratedField` or an automatic "
            "key (refused)"
        ),
    ),
    Kind(
        "safemigrations.E011",
        "add_field_nullable_then_backfill",
        "A column is added that only Python can fill",
        "`AddField`, NOT NULL, whose default only Python can compute",
    ),
    Kind(
        "safemigrations.E012",
        "add_field",
        "A column is added with an index, a check or a foreign key",
        (
            "`AddField`, nullable or with a `db_default`, with an index, unique, a check or a foreign key; a "
            "many-to-many field"
        ),
    ),
    Kind(
        "safemigrations.E020",
        "remove_field",
        "A column is dropped while the old release still uses it",
        "`RemoveField`; refused for a primary key",
    ),
    Kind(
        "safemigrations.E021",
        "delete_model",
        "A table is dropped while the old release still uses it",
        "`DeleteModel`; refused if the same release gives the table's name to another table",
    ),
    Kind(
        "safemigrations.E030",
        "remove_constraint",
        "A constraint is dropped while the old release may need it",
        "`RemoveConstraint`",
    ),
    Kind(
        "safemigrations.E031",
        "alter_unique_together",
        "Unique sets change in one step",
        (
            "`AlterUniqueTogether` that adds or removes a set; refused over a field that the same release "
            "adds with one value for all rows"
        ),
    ),
    Kind(
        "safemigrations.E032",
        "add_unique_constraint",
        "A unique constraint is built while nobody can write",
        (
            "`AddConstraint` of a `UniqueConstraint`; refused over a field that the same release adds with "
            "one value for all rows"
        ),
    ),
    Kind(
        "safemigrations.E033",
        "add_check_constraint",
        "A check is tried on every row while nobody can read or write",
        "`AddConstraint` of a `CheckConstraint`",
    ),
    Kind(
        "safemigrations.E034",
        "add_exclusion_constraint",
        "An exclusion constraint is built while nobody can read or write",
        "`AddConstraint` of an `ExclusionConstraint`, or of a class that safemigrations doesn't know: refused",
    ),
    Kind(
        "safemigrations.E040",
        "set_not_null",
        "Null is forbidden while the old release may write it",
        "`AlterField`, null → NOT NULL",
    ),
    Kind(
        "safemigrations.E041",
        "alter_field",
        "A column gains or loses an index, a check or a foreign key",
        (
            "`AlterField` that adds or removes an index, unique, a check or a foreign key, or makes "
            "PostgreSQL check a foreign key again"
        ),
    ),
    Kind(
        "safemigrations.E042",
        "drop_default",
        "A default is dropped while the old release relies on it",
        "`AlterField` that drops a `db_default`",
    ),
    Kind(
        "safemigrations.E043",
        "alter_field_type",
        "A column gets another type or name",
        (
            "`AlterField` that gives the column another type, collation or name; refused if two releases "
            "can't use one column of either type"
        ),
    ),
    Kind(
        "safemigrations.E044",
        "alter_order_with_respect_to",
        "The column _order is added or dropped",
        "`AlterOrderWithRespectTo` that adds or removes the column `_order`",
    ),
    Kind(
        "safemigrations.E050",
        "rename_field",
        "A column is renamed under the old release",
        (
            "`RenameField` that renames a column; `RemoveIndex`, `AddIndex`, `RemoveConstraint`, "
            "`AddConstraint` and `AlterUniqueTogether` that make an index or a constraint anew which follows "
            "the rename, and `AlterField` of a generated field that follows it; refused for a primary key "
            "and for a generated field"
        ),
    ),
    Kind(
        "safemigrations.E051",
        "rename_model",
        "A table is renamed with its model",
        "`RenameModel` that renames a table, or a column of a many-to-many table",
    ),
    Kind(
        "safemigrations.E052",
        "alter_model_table",
        "A table is renamed",
        "`AlterModelTable` that renames a table",
    ),
    Kind(
        "safemigrations.E053",
        "move_model",
        "A table is dropped that another model uses",
        "`DeleteModel` of a model whose table a model of another app has taken over",
    ),
    Kind(
        "safemigrations.E090",
        "",
        "An operation of ours stands in a transaction",
        "one of our operations in a migration that is atomic. Set `atomic = False`.",
    ),
    Kind(
        "safemigrations.E091",
        "",
        "An entry of allow_unsafe is wrong",
        "an entry of `allow_unsafe` that has no reason, names an unknown id, or isn't needed",
    ),
    Kind(
        "safemigrations.E092",
        "",
        "migrate refuses the file",
        "operations of ours that `migrate` refuses whatever the database holds: two that need one name, or one that "
        "doesn't make its change",
    ),
    Kind(
        "safemigrations.E093",
        "",
        "The watchdog is off without a reason",
        "`max_wait = None` in the class `Migration` without `max_wait_reason`. Applying it is refused, too.",
    ),
    Kind(
        "safemigrations.E100",
        "",
        "A setting doesn't exist",
        "`SAFEMIGRATIONS` has a key that doesn't exist",
    ),
    Kind(
        "safemigrations.E101",
        "",
        "A setting makes no sense",
        "a value in `SAFEMIGRATIONS` makes no sense",
    ),
    Kind(
        "safemigrations.E102",
        "",
        "An app doesn't exist",
        "`CHECK_APPS` names a label that no installed app has",
    ),
    Kind(
        "safemigrations.W103",
        "",
        "A baseline doesn't exist",
        "`BASELINE` names an app or a migration that doesn't exist",
    ),
    Kind(
        "safemigrations.W104",
        "",
        "An app with several leaves",
        "the migrations of an app end in more than one leaf",
    ),
    Kind(
        "safemigrations.W105",
        "",
        "No baseline yet",
        "migrations from before safemigrations have findings, and `BASELINE` isn't set",
    ),
    Kind(
        "safemigrations.E106",
        "",
        "Migrations that don't fit together",
        (
            "the migrations wait for each other in a circle, depend on one that doesn't exist, or name bases that "
            "aren't there"
        ),
    ),
    Kind(
        "safemigrations.I107",
        "installing",
        "Two drivers",
        "psycopg2 is installed, and Django uses psycopg 3",
    ),
    Kind(
        "safemigrations.E108",
        "installing",
        "The old driver",
        "psycopg 3 can't be imported, so Django uses psycopg2",
    ),
    Kind(
        "safemigrations.I290",
        "",
        "Something was not understood",
        "statements and functions that the checks couldn't read",
    ),
    Kind(
        "safemigrations.E200",
        "",
        "An index is built while others wait",
        (
            "SQL: `CREATE INDEX` or `REINDEX` without `CONCURRENTLY`; `ADD CONSTRAINT` `UNIQUE`, `PRIMARY "
            "KEY` or `EXCLUDE` that builds its index; `ADD COLUMN` that is unique"
        ),
    ),
    Kind(
        "safemigrations.E201",
        "",
        "A statement that a transaction refuses",
        (
            "`CONCURRENTLY` or `VACUUM` in an atomic migration, or with other statements in one text; the same of "
            "django.contrib.postgres; the use of an enum's value in the transaction that adds it; "
            "`COMMIT` of a `DO` block inside one"
        ),
    ),
    Kind(
        "safemigrations.E202",
        "",
        "A table is rewritten while nobody can read or write",
        (
            "SQL: `ALTER COLUMN TYPE` that isn't known to be instant; `ADD COLUMN` with a volatile default, "
            "`serial`, identity or stored generated; `CLUSTER`, `VACUUM FULL`, `SET TABLESPACE`, `SET "
            "LOGGED`, `SET ACCESS METHOD`; `REFRESH MATERIALIZED VIEW` without `CONCURRENTLY`"
        ),
    ),
    Kind(
        "safemigrations.E203",
        "",
        "Every row is read while nobody can read or write",
        (
            "SQL: `SET NOT NULL` that no valid check proves; `ADD CONSTRAINT CHECK` without `NOT VALID`; `ADD"
            " COLUMN` with a check; `ATTACH PARTITION`; a check of a domain"
        ),
    ),
    Kind(
        "safemigrations.E204",
        "",
        "A foreign key is tried on every row while nobody can write",
        "SQL: `ADD CONSTRAINT FOREIGN KEY` without `NOT VALID`; `ADD COLUMN` with `REFERENCES` and a default",
    ),
    Kind(
        "safemigrations.E205",
        "",
        "Something that the old release uses is dropped or renamed",
        (
            "SQL: `DROP` or `RENAME` of a table or column that a model had when the migration began; `SET "
            "SCHEMA`, `TRUNCATE`, `RENAME VALUE`; `DROP ... CASCADE`, `REVOKE`, `OWNER TO`, `ENABLE ROW LEVEL "
            "SECURITY`, `CREATE RULE ... DO INSTEAD`, `DISABLE TRIGGER ALL`, a primary key that goes (warning)"
        ),
    ),
    Kind(
        "safemigrations.E206",
        "",
        "Writes of the old release are refused",
        (
            "SQL: `ADD COLUMN NOT NULL` without a default; `DROP DEFAULT` of a `db_default` that it relies on, or of a "
            "NOT NULL column that the same migration adds; a sequence that begins again at 1; a trigger whose function "
            "raises (warning)"
        ),
    ),
    Kind(
        "safemigrations.E207",
        "",
        "An index is dropped while the old release may use it",
        "SQL: `DROP INDEX` without `CONCURRENTLY`; `RemoveIndexConcurrently` of django.contrib.postgres (warning)",
    ),
    Kind(
        "safemigrations.E208",
        "",
        "A table is locked",
        "SQL: `LOCK TABLE` in a mode that stops writers",
    ),
    Kind(
        "safemigrations.E209",
        "",
        "Many rows are changed in one statement",
        (
            "SQL: `UPDATE` or `DELETE` without `WHERE`; with a `WHERE` that doesn't select by a unique column"
            " or a limit, `MERGE`, `SELECT ... FOR UPDATE` (warning)"
        ),
    ),
    Kind(
        "safemigrations.E210",
        "",
        "A lock is held while rows are worked on",
        (
            "in one transaction, a statement or operation that locks a table, and then one that takes longer "
            "the more rows there are: `NOT VALID` and `VALIDATE`, `AddField` and `UPDATE`"
        ),
    ),
    Kind(
        "safemigrations.W212",
        "",
        "An INVALID index is taken for the real one",
        "SQL: `CREATE INDEX CONCURRENTLY IF NOT EXISTS`",
    ),
    Kind(
        "safemigrations.E300",
        "",
        "A model of today's code in yesterday's migration",
        (
            "Python: a model that is imported, or comes from `get_user_model()` or `django.apps.apps`, instead of "
            "`apps.get_model`; `loaddata`, `deserialize()`"
        ),
    ),
    Kind(
        "safemigrations.E301",
        "",
        "Many rows are changed in one transaction",
        (
            "Python: a loop that saves every row, or `bulk_update`, in an atomic migration; `bulk_update` of a whole "
            "table in any; `update()` or `delete()` that isn't limited to a batch (warning where it is filtered)"
        ),
    ),
    Kind(
        "safemigrations.W302",
        "",
        "A whole table in memory",
        "Python: a queryset without `iterator()`, a slice or a range of keys (note where it is filtered)",
    ),
    Kind(
        "safemigrations.E303",
        "",
        "The migration waits for something else",
        (
            "Python: the network, mail, tasks that are sent, other processes, `sleep` inside a transaction (warning "
            "outside of one)"
        ),
    ),
    Kind(
        "safemigrations.E304",
        "",
        "The schema is changed by Python",
        ("Python: methods of `schema_editor` that change the schema; SQL that a function executes is judged as SQL"),
    ),
    Kind(
        "safemigrations.W305",
        "",
        "No way back",
        "`RunPython` without `reverse_code`",
    ),
    Kind(
        "safemigrations.W306",
        "",
        "Run again, it changes rows twice",
        (
            "Python with `atomic = False`: rows are created, or computed from themselves, and nothing says "
            "which are done"
        ),
    ),
    Kind(
        "safemigrations.W308",
        "",
        "A squash leaves out what a new database needs",
        (
            "`elidable=True` on SQL that changes the schema or inserts values, or on Python that creates rows without "
            "going over others"
        ),
    ),
    Kind(
        "safemigrations.I309",
        "",
        "Nothing happens",
        "`RunPython.noop` in both directions",
    ),
    Kind(
        "safemigrations.E310",
        "",
        "The state forgets what the database still requires",
        (
            "`SeparateDatabaseAndState` whose state removes a field that is NOT NULL without a default; renames a "
            "column or table that keeps its name in the database; removes a model with foreign keys (warning)"
        ),
    ),
    Kind(
        "safemigrations.I307",
        "",
        "Which database?",
        "Python that changes rows and never mentions `using` or `alias`, in a project with several databases",
    ),
]
BY_ID = {kind.id: kind for kind in KINDS}
ABOUT_SETTINGS = re.compile(r"\.[EWI]10\d$")
DECIDABLE = {id for id in BY_ID if not ABOUT_SETTINGS.search(id)} - {"safemigrations.E091", "safemigrations.E093"}


def level_of(id: str) -> Level:
    return BY_ID[id].level
