"""A column that gets another type under the same name, together with those that point at it.

Each gets a follower: a column of the new type under a temporary name, which a trigger keeps what the column is.
Existing rows are copied, and all that hangs on the column is made for the follower too, without blocking: indexes,
unique and check constraints, NOT NULL, foreign keys. Then one short transaction exchanges the names, of the columns and
of what hangs on them. From then on it is the old column that follows, so that there is a way back with every value.

Both directions are the same work with the parts exchanged; only the casts differ.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from . import catalog
from .casts import INTEGERS, Cast
from .catalog import literal, temporary_name
from .columns import FK_SUFFIX, Column, check_constraint, raw
from .steps import Backfill, BuildCounterparts, Lock, Online, Plan, Proof, Step, Together
from .sync import drop_of, follow

ASIDE = f"{catalog.PREFIX}aside"  # a name that nobody sees, within one transaction
FK_ANEW = "_fk"  # BaseDatabaseSchemaEditor._alter_field() gives it to a foreign key that it makes again


@dataclass(frozen=True, kw_only=True)
class Retyped:
    """A column before and after, under the same name, and the casts between the two."""

    old: Column
    new: Column
    forth: Cast
    back: Cast


@dataclass(frozen=True, kw_only=True)
class Follower:
    """One column of an exchange, seen from before it.

    `leader` is the column as it is, `column` its follower, `final` what the follower becomes, `left` what the leader
    becomes: the follower of the way back.
    """

    leader: Column
    column: Column
    final: Column
    left: Column
    cast: Cast
    back: Cast

    @property
    def table(self) -> str:
        return self.leader.table

    @property
    def label(self) -> str:
        return self.leader.label

    @property
    def over(self) -> str:
        """Has the exchange been made, or is there nothing any more that it could be made with?"""
        left, final = self.left.exists, self.final
        parameters = final.field.db_parameters(final.editor.connection)
        collation = final.editor.quote_name(parameters["collation"]) if parameters.get("collation") else ""
        there = catalog.column_is(self.table, final.name, final.type, collation)
        return f"{left} UNION ALL {there} AND NOT EXISTS ({self.column.exists})"

    @property
    def value(self) -> str:
        return self.cast.or_null.replace("{}", self.leader.quoted)

    @property
    def differ(self) -> str:
        return catalog.differ(self.value, self.column.quoted)

    @property
    def trigger(self) -> Together:
        return follow(self.leader, self.column, self.cast)

    @property
    def title(self) -> str:
        """What no later migration may change meanwhile; as of twins."""
        return f"twin {self.leader.name} of {self.label}"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What it takes to exchange columns for others of another type; those that others point at come first."""

    columns: tuple[Retyped, ...]
    backwards: bool = False

    @property
    def back(self) -> Exchange:
        return replace(self, backwards=not self.backwards)

    @property
    def followers(self) -> list[Follower]:
        return [self._follower(column) for column in self.columns]

    def _follower(self, column: Retyped) -> Follower:
        old, new = self._under(column.old, "old"), self._under(column.new, "new")
        if self.backwards:
            return Follower(
                leader=column.new, column=old, final=column.old, left=new, cast=column.back, back=column.forth
            )
        return Follower(leader=column.old, column=new, final=column.new, left=old, cast=column.forth, back=column.back)

    def _under(self, column: Column, role: str) -> Column:
        """The column under its temporary name; if it is a foreign key, one that points at what has such a name, too."""
        field = copy.copy(column.field)
        field.column = temporary_name(raw(field.column), role)
        if field.remote_field:
            to = copy.copy(field.target_field)
            to.column = temporary_name(raw(to.column), role)
            field.__dict__["foreign_related_fields"] = (to,)
        return replace(column, field=field)

    @property
    def locks(self) -> dict[str, Lock]:
        return {follower.table: Lock.ACCESS_EXCLUSIVE for follower in self.followers}

    def expand(self) -> Plan:
        return (*self.proofs(), *self.begin(), *self.prepare(), self.exchange())

    def contract(self) -> Plan:
        """The old columns go. Taken back, they are made again as followers, and all is as before the contract."""
        again = self.back.begin()
        ends = [self._end(follower) for follower in reversed(self.back.followers)]
        return (replace(ends[0], undo=again), *ends[1:])

    # Before anything is touched.

    def proofs(self) -> Plan:
        followers = self.followers
        return (
            *(self._nothing_stuck(follower) for follower in followers),
            *(self._every_value_fits(follower) for follower in followers if follower.cast.misfit),
            *(self._sequence_fits(follower) for follower in followers if _may_have_sequence(follower)),
        )

    def _nothing_stuck(self, follower: Follower) -> Proof:
        column = follower.leader
        children = [(other.table, other.leader.name) for other in self.followers]
        return Proof(
            why=f"{column.label}: nothing of yours hangs on {column.name} that can't get a column of another type",
            query=catalog.stuck_to_column(column.table, column.name, children),
            failure=(
                f"{column.name} of {column.label} can't get the type {follower.final.type}, because of: {{rows}}. "
                "Nothing was changed. What hangs on a column stays with it, and this one is replaced by another: drop "
                "what is named, run the same command again, and make it anew after the contract."
            ),
            done=follower.over,
        )

    def _every_value_fits(self, follower: Follower) -> Proof:
        column, keys = follower.leader, ", ".join(follower.leader.key)
        misfit = follower.cast.misfit.replace("{}", column.quoted)
        return Proof(
            why=f"{column.label}: every {column.name} fits into {follower.final.type}",
            query=f"SELECT {keys}, {column.quoted} FROM {column.table} WHERE ({misfit})",
            pages_of=column.table,
            failure=(
                f"Rows of {column.label} have a {column.name} that {follower.final.type} can't hold: {keys} {{rows}}. "
                "Nothing was lost. Mend them, then run the same command again."
            ),
            done=follower.over,
        )

    def _sequence_fits(self, follower: Follower) -> Proof:
        """Else the next row would be refused, and the exchange, too."""
        column, type_ = follower.leader, follower.final.type
        return Proof(
            why=f"{column.label}: the sequence of {column.name}, if it has one, stands at what {type_} holds",
            query=catalog.sequence_beyond(column.table, column.name, INTEGERS[type_] - 1),
            failure=(
                f"The sequence of {column.name} of {column.label} stands beyond what {type_} holds: {{rows}}. Nothing "
                "was changed. Set it back with setval() and run the same command again, or stay with the wider type."
            ),
            done=follower.over,
        )

    # The followers.

    def begin(self) -> Plan:
        followers = self.followers
        return (*(self._add(follower) for follower in followers), *(self._fill(follower) for follower in followers))

    def _add(self, follower: Follower) -> Together:
        """The follower and its trigger at the same moment: whatever is written from then on stands in both."""
        column, leader, trigger = follower.column, follower.leader, follower.trigger
        add = f"ALTER TABLE {column.table} ADD COLUMN {column.quoted} {column.definition(null=True)}"
        return Together(
            why=f"{column.label}: add column {column.name}, and a trigger that keeps it what {leader.name} is",
            sql=(add, _carry(leader, column), *trigger.sql),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=f"{trigger.done} UNION ALL {follower.over}",
            undo=(*self._drop_foreign_key(follower), self._end(follower)),
            takes=(column.title,),
            about=leader.title,
        )

    def _fill(self, follower: Follower) -> Backfill:
        column, leader = follower.column, follower.leader
        return Backfill(
            why=f"{column.label}: copy {leader.name} to {column.name}",
            table=column.table,
            key=leader.key,
            guard=follower.differ,
            assign=f"{column.quoted} = {follower.value}",
            sets=(column.quoted,),
            done=follower.over,
            about=leader.title,
        )

    def _drop_foreign_key(self, follower: Follower) -> Plan:
        if not follower.column.has_foreign_key:
            return ()
        return (follower.column.drop_foreign_key(),)

    def _end(self, follower: Follower) -> Together:
        """A follower goes, with its trigger and all that hangs on it."""
        column, leader, drop = follower.column, follower.leader, drop_of(follower.trigger)
        return Together(
            why=f"{column.label}: drop column {column.name} and the trigger that kept it what {leader.name} is",
            sql=(*drop.statements, f"ALTER TABLE {column.table} DROP COLUMN IF EXISTS {column.quoted}"),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.column_missing(column.table, column.name),
            takes=(leader.title, follower.title),
        )

    # What hangs on the columns, made for the followers.

    def prepare(self) -> Plan:
        followers = self.followers
        return (
            *self.proofs(),  # again, as copying takes its time
            *(step for follower in followers for step in self._stays_fitting(follower)),
            *self._counterparts(),
            *(step for follower in followers for step in self._not_null(follower)),
            *(step for follower in followers for step in self._foreign_key(follower)),
            *(self._analyze(follower) for follower in followers),
            *(self._equal(follower) for follower in followers),
        )

    def _stays_fitting(self, follower: Follower) -> Plan:
        """Until the exchange makes the type say so: what was written in between would be lost with it."""
        if not follower.cast.misfit:
            return ()
        column, name = follower.leader, _fits(follower)
        misfit = follower.cast.misfit.replace("{}", column.quoted)
        add = f"ALTER TABLE {column.table} ADD CONSTRAINT {column.editor.quote_name(name)} CHECK (NOT ({misfit}))"
        violators = f"SELECT {', '.join(column.key)} FROM {column.table} WHERE ({misfit})"
        plan = check_constraint(column.editor, column.table, name, add, about=column.title, violators=violators)
        return _unless(follower.over, plan)

    def _counterparts(self) -> Iterator[Step]:
        for table, followers in self._by_table().items():
            yield BuildCounterparts(
                why=f"{catalog.bare(table)}: every index, unique and check constraint for what takes the place of"
                f" {', '.join(follower.leader.name for follower in followers)}",
                table=table,
                twins=tuple((follower.leader.name, follower.column.name) for follower in followers),
                done=followers[0].over,
                about=followers[0].leader.title,
            )

    def _by_table(self) -> dict[str, list[Follower]]:
        tables: dict[str, list[Follower]] = {}
        for follower in self.followers:
            tables.setdefault(follower.table, []).append(follower)
        return tables

    def _not_null(self, follower: Follower) -> Plan:
        return () if follower.leader.field.null else _unless(follower.over, follower.column.not_null())

    def _foreign_key(self, follower: Follower) -> Plan:
        return _unless(follower.over, follower.column.foreign_key())

    def _analyze(self, follower: Follower) -> Online:
        column = follower.column
        return Online(
            why=f"{column.label}: statistics of {column.name}",
            sql=f"ANALYZE {column.table} ({column.quoted})",
            locks={column.table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=follower.over,
            about=follower.leader.title,
        )

    def _equal(self, follower: Follower) -> Proof:
        leader, column, keys = follower.leader, follower.column, ", ".join(follower.leader.key)
        return Proof(
            why=f"{leader.label}: {column.name} is what {leader.name} is in every row",
            query=f"SELECT {keys}, {leader.quoted} FROM {leader.table} WHERE {follower.differ}",
            pages_of=leader.table,
            failure=(
                f"Rows of {leader.label} have a {leader.name} that isn't in the column which takes its place: {keys} "
                f"{{rows}}. Somebody wrote while the trigger was disabled. UPDATE {leader.table} SET {column.quoted} = "
                f"{follower.value} WHERE {follower.differ} repairs it; then run the same command again."
            ),
            done=follower.over,
            about=leader.title,
        )

    # The moment itself.

    def exchange(self) -> Together:
        back = self.back
        return replace(self._exchanged("from now on"), undo=(*back.prepare(), back._exchanged("again")))

    def _exchanged(self, when: str) -> Together:
        followers = self.followers
        names = ", ".join(f"{follower.leader.name} of {follower.label}" for follower in followers)
        return Together(
            why=f"{names}: {followers[0].final.type} {when}",
            sql=tuple(self._exchange()),
            locks=self.locks,
            done=followers[0].over,
            about=followers[0].leader.title,
        )

    def _exchange(self) -> Iterator[str]:
        followers, tables = self.followers, self._by_table()
        for follower in followers:
            yield from drop_of(follower.trigger).statements
            if follower.cast.misfit:
                fits = follower.leader.editor.quote_name(_fits(follower))
                yield f"ALTER TABLE {follower.table} DROP CONSTRAINT IF EXISTS {fits}"
            if follower.leader.has_foreign_key:
                yield follower.leader.drop_foreign_key().sql
        for table, together in tables.items():
            scope = catalog.scope_of_counterparts(table, [follower.leader.name for follower in together])
            yield _exchange_checks(table, scope)
            yield _exchange_primary_key(table, scope)
            yield _exchange_indexes(table, scope)
            yield _drop_unique(table, scope)
        for follower in followers:
            yield from self._exchange_columns(follower)
        for follower in followers:
            if follower.column.has_foreign_key:
                yield _rename_foreign_key(follower.column, self._foreign_key_name(follower.final))
            yield from follow(follower.final, follower.left, follower.back).statements
        yield _forget_plans(tables)

    def _exchange_columns(self, follower: Follower) -> Iterator[str]:
        table, leader, left, column = follower.table, follower.leader, follower.left, follower.column
        yield f"ALTER TABLE {table} RENAME COLUMN {leader.quoted} TO {left.quoted}"
        yield f"ALTER TABLE {table} RENAME COLUMN {column.quoted} TO {follower.final.quoted}"
        yield _move_default(left, follower.final)
        if follower.final.type in INTEGERS and not follower.final.field.remote_field:
            yield _move_identity(left, follower.final)
            yield _move_sequence(left, follower.final)
        yield _rename_not_null(left, follower.final)
        yield f"ALTER TABLE {table} ALTER COLUMN {left.quoted} DROP NOT NULL"

    def _foreign_key_name(self, column: Column) -> str:
        suffix = FK_SUFFIX if self.backwards else FK_ANEW
        reference = column.editor._create_fk_sql(column.model, column.field, suffix)  # type: ignore[attr-defined]
        return raw(str(reference.parts["name"]))


def _may_have_sequence(follower: Follower) -> bool:
    return bool(follower.cast.misfit) and follower.final.type in INTEGERS and not follower.final.field.remote_field


def _fits(follower: Follower) -> str:
    return temporary_name(follower.label, follower.leader.name, "fits")


def _unless(over: str, plan: Plan) -> Plan:
    return tuple(replace(step, done=f"{step.done} UNION ALL {over}") for step in plan)


# What the catalog knows about a column, carried over to another. All of it within one transaction.

STORAGE = "CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'x' THEN 'EXTENDED' ELSE 'MAIN' END"
COMPRESSION = "CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END"


def _attribute_of(column: Column) -> str:
    return f"a.attrelid = {catalog.regclass(column.table)} AND a.attname = {literal(column.name)}"


def _alter(column: Column, change: str, *values: str) -> str:
    """PL/pgSQL that alters the column; the %s of the change are the values."""
    start = f"ALTER TABLE {column.table} ALTER COLUMN {column.quoted} ".replace("%", "%%")
    return f"EXECUTE format({', '.join([literal(start + change), *values])});"


def _carry(one: Column, other: Column) -> str:
    """Comment, statistics target and options, storage and privileges."""
    on = f"COMMENT ON COLUMN {other.table}.{other.quoted} IS ".replace("%", "%%")
    grant = f"({other.quoted}) ON {other.table} TO ".replace("%", "%%")
    return catalog.for_each(
        "SELECT a.*, col_description(a.attrelid, a.attnum) AS comment,"
        f" a.attstorage <> t.typstorage AS stored, {STORAGE} AS storage, {COMPRESSION} AS compression,"
        " ARRAY(SELECT format('GRANT %s %s%s%s', privilege_type,"
        f" {literal(grant)}, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,"
        " CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM aclexplode(a.attacl)) AS grants"
        f" FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE {_attribute_of(one)}",
        f"IF found.comment IS NOT NULL THEN EXECUTE format({literal(on + '%L')}, found.comment); END IF;"
        f" IF found.attstattarget >= 0 THEN {_alter(other, 'SET STATISTICS %s', 'found.attstattarget')} END IF;"
        " IF found.attoptions IS NOT NULL THEN"
        f" {_alter(other, 'SET (%s)', 'array_to_string(found.attoptions, $$, $$)')} END IF;"
        f" IF found.stored THEN {_alter(other, 'SET STORAGE %s', 'found.storage')} END IF;"
        f" IF found.compression IS NOT NULL THEN {_alter(other, 'SET COMPRESSION %s', 'found.compression')} END IF;"
        " FOR i IN 1 .. cardinality(found.grants) LOOP EXECUTE found.grants[i]; END LOOP;",
    )


def _rename_foreign_key(column: Column, name: str) -> str:
    """Of a partitioned table those of its partitions, too."""
    table, old = catalog.regclass(column.table), column.foreign_key_name
    return catalog.for_each(
        f"SELECT conrelid::regclass::text AS name FROM pg_constraint WHERE conname = {literal(old)} AND contype = 'f'"
        f" AND conrelid IN (SELECT {table} UNION SELECT relid FROM pg_partition_tree({table}))",
        f"EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', found.name, {literal(old)}, {literal(name)});",
    )


def _exchange_checks(table: str, scope: str) -> str:
    """The old ones go: what follows may be null where another type has no such value, and a check might mind."""
    copied = catalog.copy_of(scope, "k.conname")
    return catalog.for_each(
        "SELECT k.conname, n.conname AS copy FROM pg_constraint k JOIN pg_constraint n ON n.conrelid = k.conrelid"
        f" AND n.conname = {copied} WHERE k.conrelid = {catalog.regclass(table)} AND k.contype = 'c'",
        f"{catalog.drop_found(table)}"
        f" EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {literal(table)}, found.copy, found.conname);",
    )


def _exchange_primary_key(table: str, scope: str) -> str:
    copied = catalog.copy_of(scope, "k.conname")
    return catalog.for_each(
        f"SELECT k.conname, c.relname AS copy FROM pg_constraint k JOIN pg_class c ON c.relname = {copied}"
        " JOIN pg_index i ON i.indexrelid = c.oid AND i.indrelid = k.conrelid"
        f" WHERE k.conrelid = {catalog.regclass(table)} AND k.contype = 'p'",
        f"{catalog.drop_found(table)}"
        f" EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I PRIMARY KEY USING INDEX %I', {literal(table)},"
        " found.conname, found.copy);",
    )


def _exchange_indexes(table: str, scope: str) -> str:
    """An index and its counterpart exchange their names, those of partitions, too. A constraint's name goes with it."""
    copied = catalog.copy_of(scope, "o.relname")
    pairs = (
        "SELECT o.oid AS old, n.oid AS new FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid"
        f" JOIN pg_class n ON n.relnamespace = o.relnamespace AND n.relname = {copied}"
        f" WHERE i.indrelid = {catalog.regclass(table)}"
    )
    of_partitions = (
        "SELECT a.indexrelid, b.indexrelid FROM pairs, pg_partition_tree(pairs.old) o JOIN pg_index a"
        " ON a.indexrelid = o.relid, pg_partition_tree(pairs.new) n JOIN pg_index b ON b.indexrelid = n.relid"
        " WHERE a.indrelid = b.indrelid AND o.level > 0"
    )
    rename = "EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', found.nspname, {}, {});"
    alter = f"EXECUTE format('ALTER TABLE %s {{}} %I', {literal(table)}, found.old);"
    return catalog.for_each(
        f"WITH pairs AS ({pairs}), every AS (SELECT * FROM pairs UNION ALL {of_partitions})"
        " SELECT n.nspname, a.relname AS old, b.relname AS new, i.indisreplident, i.indisclustered FROM every"
        " JOIN pg_class a ON a.oid = every.old JOIN pg_class b ON b.oid = every.new"
        " JOIN pg_index i ON i.indexrelid = a.oid JOIN pg_namespace n ON n.oid = a.relnamespace",
        f"{rename.format('found.old', literal(ASIDE))} {rename.format('found.new', 'found.old')}"
        f" {rename.format(literal(ASIDE), 'found.new')}"
        f" IF found.indisreplident THEN {alter.format('REPLICA IDENTITY USING INDEX')} END IF;"
        f" IF found.indisclustered THEN {alter.format('CLUSTER ON')} END IF;",
    )


def _drop_unique(table: str, scope: str) -> str:
    """What follows needs no unique index, and two of them would be one too many for ON CONFLICT, which watches one."""
    copied = catalog.copy_of(scope, "o.relname")
    return catalog.for_each(
        "SELECT n.nspname, n.relname, k.conname FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid"
        " JOIN (SELECT c.oid, c.relname, s.nspname, j.indrelid FROM pg_index j JOIN pg_class c ON c.oid = j.indexrelid"
        " JOIN pg_namespace s ON s.oid = c.relnamespace WHERE j.indisunique) n ON n.indrelid = i.indrelid"
        f" AND n.relname = {copied} LEFT JOIN pg_constraint k ON k.conindid = n.oid AND k.contype = 'u'"
        f" WHERE i.indrelid = {catalog.regclass(table)}",
        "IF found.conname IS NULL THEN EXECUTE format('DROP INDEX %I.%I', found.nspname, found.relname);"
        f" ELSE {catalog.drop_found(table)} END IF;",
    )


MAXIMUM = (
    "CASE WHEN s.seqmax = CASE s.seqtypid WHEN 'smallint'::regtype THEN 32767 WHEN 'integer'::regtype THEN 2147483647"
    " ELSE 9223372036854775807 END THEN 'NO MAXVALUE' ELSE 'MAXVALUE ' || s.seqmax END"
)


def _sequences(column: Column, kind: str) -> str:
    return (
        f" FROM pg_attribute a JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.deptype = '{kind}'"
        " AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum"
        " JOIN pg_sequence s ON s.seqrelid = d.objid JOIN pg_class c ON c.oid = d.objid"
        f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_attribute_of(column)}"
    )


def _move_identity(one: Column, other: Column) -> str:
    """The sequence of an identity can't be given away, so another takes over its name, place and privileges."""
    identity = (
        "'ADD GENERATED ' || CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END || format('"
        " AS IDENTITY (SEQUENCE NAME %I.%I INCREMENT %s MINVALUE %s %s START %s CACHE %s %s)', n.nspname, c.relname,"
        f" s.seqincrement, s.seqmin, {MAXIMUM}, s.seqstart, s.seqcache,"
        " CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)"
    )
    grants = (
        "ARRAY(SELECT format('GRANT %s ON SEQUENCE %I.%I TO %s%s', privilege_type, n.nspname, c.relname,"
        " CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,"
        " CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM aclexplode(c.relacl)"
        " WHERE grantee <> c.relowner)"
    )
    return (
        "DO $safemig$ DECLARE found record; place record; BEGIN"
        f" FOR found IN SELECT n.nspname, c.relname, {identity} AS identity, {grants} AS grants"
        f" {_sequences(one, 'i')} LOOP"
        " EXECUTE format('SELECT last_value, is_called FROM %I.%I', found.nspname, found.relname) INTO place;"
        f" {_alter(one, 'DROP IDENTITY')} {_alter(other, '%s', 'found.identity')}"
        " PERFORM setval(format('%I.%I', found.nspname, found.relname)::regclass, place.last_value, place.is_called);"
        " FOR i IN 1 .. cardinality(found.grants) LOOP EXECUTE found.grants[i]; END LOOP; END LOOP; END $safemig$"
    )


def _move_default(one: Column, other: Column) -> str:
    return catalog.for_each(
        "SELECT pg_get_expr(d.adbin, d.adrelid) AS expression FROM pg_attribute a JOIN pg_attrdef d"
        f" ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE {_attribute_of(one)}",
        f"{_alter(other, 'SET DEFAULT %s', 'found.expression')} {_alter(one, 'DROP DEFAULT')}",
    )


def _move_sequence(one: Column, other: Column) -> str:
    """Of a serial column, as Django made them before 4.1."""
    sequence = "EXECUTE format('ALTER SEQUENCE %I.%I {}', found.nspname, found.relname);"
    owner = f"OWNED BY {other.table}.{other.quoted}".replace("%", "%%").replace("'", "''")
    return catalog.for_each(
        f"SELECT n.nspname, c.relname {_sequences(one, 'a')}",
        f"{sequence.format(f'AS {other.type}')} {sequence.format(owner)}",
    )


def _rename_not_null(one: Column, other: Column) -> str:
    """PostgreSQL 18 has names for NOT NULL, too."""
    number = partial("(SELECT a.attnum FROM pg_attribute a WHERE {})".format)
    of = "{0}.conrelid = {1} AND {0}.contype = 'n' AND {0}.conkey = ARRAY[{2}]"
    table = catalog.regclass(one.table)
    name = f"{literal(one.table)}, found.new, found.old"
    return catalog.for_each(
        "SELECT k.conname AS old, n.conname AS new FROM pg_constraint k, pg_constraint n"
        f" WHERE {of.format('k', table, number(_attribute_of(one)))}"
        f" AND {of.format('n', table, number(_attribute_of(other)))}",
        f"{_alter(one, 'DROP NOT NULL')} EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {name});",
    )


def _forget_plans(tables: Iterable[str]) -> str:
    """Sessions keep the plans of functions, which know the old type; a function that is altered is read anew."""
    watches = ", ".join(map(catalog.regclass, tables))
    names = " OR ".join(f"strpos(p.prosrc, {literal(catalog.bare(table))}) > 0" for table in tables)
    return catalog.for_each(
        "SELECT DISTINCT p.oid::regprocedure::text AS name, p.procost FROM pg_proc p"
        " JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'"
        " LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND NOT t.tgisinternal"
        f" WHERE (t.tgrelid IN ({watches}) OR {names})"
        f" AND NOT starts_with(p.proname::text, '{catalog.PREFIX}') AND pg_has_role(p.proowner, 'USAGE')"
        " AND p.prokind = 'f'",
        "EXECUTE format('ALTER FUNCTION %s COST %s', found.name, found.procost);",
    )
