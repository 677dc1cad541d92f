"""What a column, the twin, takes over from the one whose place it takes, the original: statements, most of them blocks.

Names of columns are raw. A twin is given what it takes over in the transaction that makes it, or in the one that
exchanges the two columns. By then BuildCounterparts has made copies of the indexes and checks for the twin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from .blocks import drop_found, for_each, rename_found
from .columns import number_of
from .indexes import is_over
from .names import COPY, PREFIX, Name, copy_of, object_name, regclass, temporary_name
from .triggers import mentions
from .values import literal, pattern

IN_BETWEEN = f"{PREFIX}aside"  # a name that nobody sees, within one transaction

STORAGE = "CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'x' THEN 'EXTENDED' ELSE 'MAIN' END"
COMPRESSION = "CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END"


def _attribute_of(table: str, column: str) -> str:
    return f"a.attrelid = {regclass(table)} AND a.attname = {literal(column)}"


def _alter(table: str, column: str, change: str, *values: str) -> str:
    """PL/pgSQL that alters the column; the %s of the change are the values."""
    start = f"ALTER TABLE {table} ALTER COLUMN {Name.of(column)} "
    return f"EXECUTE format({', '.join([literal(pattern(start) + change), *values])});"


def carry(table: str, original: str, twin: str) -> str:
    """Carries over comment, statistics target and options, storage and privileges."""
    comment = f"COMMENT ON COLUMN {table}.{Name.of(twin)} IS "
    grant = f"({Name.of(twin)}) ON {table} TO "
    alter = partial(_alter, table, twin)
    return for_each(
        "SELECT a.*, col_description(a.attrelid, a.attnum) AS comment,"
        f" a.attstorage <> t.typstorage AND ({_may_be_compressed(table, twin)}) AS stored, {STORAGE} AS storage,"
        f" CASE WHEN ({_may_be_compressed(table, twin)}) THEN {COMPRESSION} END AS compression,"
        " ARRAY(SELECT format('GRANT %s %s%s%s', privilege_type,"
        f" {literal(grant)}, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,"
        " CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM aclexplode(a.attacl)) AS grants"
        f" FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE {_attribute_of(table, original)}",
        f"IF found.comment IS NOT NULL THEN EXECUTE format({literal(pattern(comment) + '%L')}, found.comment); END IF;"
        f" IF found.attstattarget >= 0 THEN {alter('SET STATISTICS %s', 'found.attstattarget')} END IF;"
        " IF found.attoptions IS NOT NULL THEN"
        f" {alter('SET (%s)', 'array_to_string(found.attoptions, $$, $$)')} END IF;"
        f" IF found.stored THEN {alter('SET STORAGE %s', 'found.storage')} END IF;"
        f" IF found.compression IS NOT NULL THEN {alter('SET COMPRESSION %s', 'found.compression')} END IF;"
        " FOR i IN 1 .. cardinality(found.grants) LOOP EXECUTE found.grants[i]; END LOOP;",
    )


def _may_be_compressed(table: str, column: str) -> str:
    of_type = "SELECT t.typstorage <> 'p' FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    return f"{of_type} WHERE {_attribute_of(table, column)}"


def refuse_another_type(table: str, original: str, twin: str) -> str:
    """Refuses an original whose type somebody altered by hand.

    It may hold what its twin of the same type, as the migrations know it, couldn't hold. Then the trigger would fail.
    """
    there = f"o.attrelid = {regclass(table)} AND o.attname = {literal(original)}"
    beside = f"t.attrelid = o.attrelid AND t.attname = {literal(twin)}"
    differing = "(o.atttypid, o.atttypmod, o.attcollation) <> (t.atttypid, t.atttypmod, t.attcollation)"
    return for_each(
        "SELECT o.attname, format_type(o.atttypid, o.atttypmod) AS here,"
        " format_type(t.atttypid, t.atttypmod) AS there FROM pg_attribute o, pg_attribute t"
        f" WHERE {there} AND {beside} AND {differing}",
        "RAISE EXCEPTION 'column % is %, or of another collation, and in the migrations it is %',"
        " found.attname, found.here, found.there;",
    )


def carry_grants(table: str, original: str, twin: str) -> str:
    """Carries over the privileges that a role has on the column alone."""
    column = f"attrelid = {regclass(table)} AND attname = {literal(original)}"
    return for_each(
        f"SELECT privilege_type, is_grantable, grantee FROM pg_attribute, aclexplode(attacl) WHERE {column}",
        "EXECUTE format('GRANT %s (%I) ON %s TO %s%s', found.privilege_type,"
        f" {literal(twin)}, {literal(table)},"
        " CASE WHEN found.grantee = 0 THEN 'PUBLIC' ELSE found.grantee::regrole::text END,"
        " CASE WHEN found.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);",
    )


def carry_comment_of_foreign_key(table: str, original: str, twin: str) -> str:
    return for_each(
        f"SELECT n.conname, {_comment_on('k')} AS comment FROM pg_constraint k JOIN pg_constraint n USING (conrelid)"
        f" WHERE conrelid = {regclass(table)} AND k.contype = 'f' AND n.contype = 'f'"
        f" AND k.conkey = ARRAY[{number_of(original, 'conrelid')}]"
        f" AND n.conkey = ARRAY[{number_of(twin, 'conrelid')}]",
        _comment(table=table),
    )


def rename_foreign_key(table: str, old: str, name: str) -> str:
    """Renames the foreign key; of a partitioned table also those of its partitions."""
    whole = regclass(table)
    return for_each(
        f"SELECT conrelid::regclass::text AS name FROM pg_constraint WHERE conname = {literal(old)} AND contype = 'f'"
        f" AND conrelid IN (SELECT {whole} UNION SELECT relid FROM pg_partition_tree({whole}))",
        f"EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', found.name, {literal(old)}, {literal(name)});",
    )


def exchange_checks(table: str, scope: str) -> str:
    """Drops the checks of the original: it may be null from now on, and a check might refuse that."""
    copied = copy_of(scope, "k.conname")
    return for_each(
        f"SELECT k.conname, {_comment_on('k')} AS comment, n.conname AS copy FROM pg_constraint k"
        f" JOIN pg_constraint n ON n.conrelid = k.conrelid AND n.conname = {copied}"
        f" WHERE k.conrelid = {regclass(table)} AND k.contype = 'c'",
        f"{drop_found(table)} {rename_found(table, 'found.conname', name='found.copy')} {_comment(table=table)}",
    )


def _comment_on(constraint: str) -> str:
    return f"obj_description({constraint}.oid, 'pg_constraint')"


def _comment(name: str = "found.conname", table: str = "") -> str:
    """PL/pgSQL that gives a constraint the comment that was found; without a `table`, of the table that was."""
    on = literal(table) if table else "found.relation"
    change = f"EXECUTE format('COMMENT ON CONSTRAINT %I ON %s IS %L', {name}, {on}, found.comment);"
    return f"IF found.comment IS NOT NULL THEN {change} END IF;"


# What _like_its_index() finds of an index, `a` with `i`, and `n`, its schema.
OF_INDEX = (
    "n.nspname, a.relname AS old, i.indrelid::regclass::text AS relation, i.indisreplident, i.indisclustered,"
    " obj_description(a.oid, 'pg_class') AS of_index, ARRAY(SELECT format('ALTER INDEX %I.%I ALTER COLUMN %s SET"
    " STATISTICS %s', n.nspname, a.relname, x.attnum, x.attstattarget) FROM pg_attribute x WHERE x.attrelid = a.oid"
    " AND x.attstattarget >= 0) AS targets"
)


def _like_its_index() -> str:
    """PL/pgSQL that gives an index, which has its name by now, what the one had that was called so."""
    by_index = "EXECUTE format('ALTER TABLE %s {} %I', found.relation, found.old);".format
    return (
        "IF found.of_index IS NOT NULL THEN"
        " EXECUTE format('COMMENT ON INDEX %I.%I IS %L', found.nspname, found.old, found.of_index); END IF;"
        f" IF found.indisreplident THEN {by_index('REPLICA IDENTITY USING INDEX')} END IF;"
        f" IF found.indisclustered THEN {by_index('CLUSTER ON')} END IF;"
        " FOR i IN 1 .. cardinality(found.targets) LOOP EXECUTE found.targets[i]; END LOOP;"
    )


def exchange_primary_key(table: str, scope: str) -> str:
    copied = copy_of(scope, "k.conname")
    return for_each(
        f"SELECT k.conname, {_comment_on('k')} AS comment, {OF_INDEX}, c.relname AS copy FROM pg_constraint k"
        " JOIN pg_index i ON i.indexrelid = k.conindid JOIN pg_class a ON a.oid = k.conindid"
        f" JOIN pg_namespace n ON n.oid = a.relnamespace JOIN pg_class c ON c.relname = {copied}"
        " JOIN pg_index o ON o.indexrelid = c.oid AND o.indrelid = k.conrelid"
        f" WHERE k.conrelid = {regclass(table)} AND k.contype = 'p'",
        f"{drop_found(table)}"
        f" EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I PRIMARY KEY USING INDEX %I', {literal(table)},"
        f" found.conname, found.copy); {_comment()} {_like_its_index()}",
    )


def exchange_indexes(table: str, scope: str, columns: Sequence[str]) -> str:
    """An index over the columns and its copy exchange their names, those of partitions, too. A constraint's name goes
    with it.

    An index over others has the name of one that a later release has replaced, and has set aside until its contract.
    """
    aside = temporary_name(Name(table).raw, "")
    former = f"WHEN starts_with(o.relname, {literal(aside)}) THEN substr(o.relname, {len(aside) + 1})"
    copied = copy_of(scope, f"CASE {former} ELSE o.relname END")
    pairs = (
        "SELECT o.oid AS old, n.oid AS new FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid"
        f" JOIN pg_class n ON n.relnamespace = o.relnamespace AND n.relname = {copied}"
        f" WHERE i.indrelid = {regclass(table)} AND {is_over(columns)}"
    )
    of_partitions = (
        "SELECT a.indexrelid, b.indexrelid FROM pairs, pg_partition_tree(pairs.old) o JOIN pg_index a"
        " ON a.indexrelid = o.relid, pg_partition_tree(pairs.new) n JOIN pg_index b ON b.indexrelid = n.relid"
        " WHERE a.indrelid = b.indrelid AND o.level > 0"
    )
    in_between = literal(IN_BETWEEN)
    return for_each(
        f"WITH pairs AS ({pairs}), every AS (SELECT * FROM pairs UNION ALL {of_partitions})"
        f" SELECT {OF_INDEX}, b.relname AS new, c.comment FROM every"
        " JOIN pg_class a ON a.oid = every.old JOIN pg_class b ON b.oid = every.new"
        " JOIN pg_index i ON i.indexrelid = a.oid JOIN pg_namespace n ON n.oid = a.relnamespace"
        f" LEFT JOIN LATERAL (SELECT {_comment_on('k')} FROM pg_constraint k WHERE k.conindid = a.oid"
        " AND k.conrelid = i.indrelid AND k.contype <> 'f') AS c (comment) ON TRUE",
        f"{_rename_index('found.old', in_between)} {_rename_index('found.new', 'found.old')}"
        f" {_rename_index(in_between, 'found.new')} {_like_its_index()} {_comment('found.old')}",
    )


def _rename_index(name: str, to: str) -> str:
    return f"EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', found.nspname, {name}, {to});"


def drop_unique(table: str, scope: str) -> str:
    """Drops the unique indexes of the former original.

    ON CONFLICT uses one unique index, and two would be one too many.
    """
    copied = copy_of(scope, "o.relname")
    return for_each(
        "SELECT n.nspname, n.relname, k.conname FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid"
        " JOIN (SELECT c.oid, c.relname, s.nspname, j.indrelid FROM pg_index j JOIN pg_class c ON c.oid = j.indexrelid"
        " JOIN pg_namespace s ON s.oid = c.relnamespace WHERE j.indisunique) n ON n.indrelid = i.indrelid"
        f" AND n.relname = {copied} LEFT JOIN pg_constraint k ON k.conindid = n.oid AND k.contype = 'u'"
        f" WHERE i.indrelid = {regclass(table)}",
        "IF found.conname IS NULL THEN EXECUTE format('DROP INDEX %I.%I', found.nspname, found.relname);"
        f" ELSE {drop_found(table)} END IF;",
    )


def drop_leftovers(table: str, column: str) -> str:
    """Drops copies without a name to take over, because the same release has dropped their index."""
    named = f"starts_with(c.relname, {literal(COPY)})"
    return for_each(
        "SELECT n.nspname, c.relname, k.conname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        f" LEFT JOIN pg_constraint k ON k.conindid = c.oid WHERE {_attribute_of(table, column)} AND {named}"
        " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)",
        "IF found.conname IS NULL THEN EXECUTE format('DROP INDEX %I.%I', found.nspname, found.relname);"
        f" ELSE {drop_found(table)} END IF;",
    )


MAXIMUM = (
    "CASE WHEN s.seqmax = CASE s.seqtypid WHEN 'smallint'::regtype THEN 32767 WHEN 'integer'::regtype THEN 2147483647"
    " ELSE 9223372036854775807 END THEN 'NO MAXVALUE' ELSE 'MAXVALUE ' || s.seqmax END"
)


def _sequences(table: str, column: str, kind: str) -> str:
    return (
        f" FROM pg_attribute a JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.deptype = '{kind}'"
        " AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum"
        " JOIN pg_sequence s ON s.seqrelid = d.objid JOIN pg_class c ON c.oid = d.objid"
        f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_attribute_of(table, column)}"
    )


def move_identity(table: str, original: str, twin: str) -> str:
    """Another sequence takes over name, position, comment and privileges.

    The sequence of an identity can't change its column.
    """
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
    return for_each(
        f"SELECT n.nspname, c.relname, {identity} AS identity, {grants} AS grants,"
        f" obj_description(c.oid, 'pg_class') AS comment {_sequences(table, original, 'i')}",
        "EXECUTE format('SELECT last_value, is_called FROM %I.%I', found.nspname, found.relname) INTO place;"
        f" {_alter(table, original, 'DROP IDENTITY')} {_alter(table, twin, '%s', 'found.identity')}"
        " PERFORM setval(format('%I.%I', found.nspname, found.relname)::regclass, place.last_value, place.is_called);"
        " IF found.comment IS NOT NULL THEN EXECUTE format('COMMENT ON SEQUENCE %I.%I IS %L', found.nspname,"
        " found.relname, found.comment); END IF;"
        " FOR i IN 1 .. cardinality(found.grants) LOOP EXECUTE found.grants[i]; END LOOP;",
        declare="place record; ",
    )


def move_default(table: str, original: str, twin: str) -> str:
    return for_each(
        "SELECT pg_get_expr(d.adbin, d.adrelid) AS expression FROM pg_attribute a JOIN pg_attrdef d"
        f" ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE {_attribute_of(table, original)}",
        f"{_alter(table, twin, 'SET DEFAULT %s', 'found.expression')} {_alter(table, original, 'DROP DEFAULT')}",
    )


def move_sequence(table: str, original: str, twin: str, type_: str) -> str:
    """Moves the sequence of a serial column, as Django made them before 4.1, or one that people gave the column.

    `type_`: the twin's, which becomes that of the sequence; empty for a twin that no sequence can have the type of.
    """
    owned = _alter_sequence(f"OWNED BY {table}.{Name.of(twin)}")
    return for_each(
        f"SELECT n.nspname, c.relname {_sequences(table, original, 'a')}",
        f"{_alter_sequence(f'AS {type_}')} {owned}" if type_ else owned,
    )


def _alter_sequence(change: str) -> str:
    start = "ALTER SEQUENCE %I.%I "
    return f"EXECUTE format({literal(start + pattern(change))}, found.nspname, found.relname);"


def rename_not_null(table: str, original: str, twin: str) -> str:
    """NOT NULL has a name since PostgreSQL 18."""
    number = partial("(SELECT a.attnum FROM pg_attribute a WHERE {})".format)
    of = "{0}.conrelid = {1} AND {0}.contype = 'n' AND {0}.conkey = ARRAY[{2}]"
    place = regclass(table)
    return for_each(
        f"SELECT k.conname AS old, n.conname AS new, {_comment_on('k')} AS comment"
        " FROM pg_constraint k, pg_constraint n"
        f" WHERE {of.format('k', place, number(_attribute_of(table, original)))}"
        f" AND {of.format('n', place, number(_attribute_of(table, twin)))}",
        f"{_alter(table, original, 'DROP NOT NULL')} {rename_found(table, 'found.old', name='found.new')}"
        f" {_comment('found.old', table)}",
    )


def name_not_null(table: str, column: str, name: str, *, former: str = "") -> str:
    """Gives NOT NULL the name that it has for a column of this name; renaming the column doesn't change it.

    With `former`, only where it still has its name for a column of that one.
    """
    where = f" AND k.conname = {literal(object_name(Name(table).raw, former, 'not_null'))}" if former else ""
    wanted = literal(object_name(Name(table).raw, name, "not_null"))
    return for_each(
        "SELECT k.conname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid"
        f" AND k.conkey = ARRAY[a.attnum] WHERE {_attribute_of(table, column)} AND k.contype = 'n'"
        f" AND k.conname <> {wanted}{where}",
        rename_found(table, wanted),
    )


def forget_plans(tables: Iterable[Name]) -> str:
    """Lets sessions read functions anew, which altering a function does: their cached plans have the old type."""
    watches = ", ".join(map(regclass, tables))
    names = " OR ".join(mentions("p", table) for table in tables)
    return for_each(
        "SELECT DISTINCT p.oid::regprocedure::text AS name, p.procost FROM pg_proc p"
        " JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'"
        " LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND NOT t.tgisinternal"
        f" WHERE (t.tgrelid IN ({watches}) OR {names})"
        " AND pg_has_role(p.proowner, 'USAGE')"
        " AND p.prokind = 'f'",
        "EXECUTE format('ALTER FUNCTION %s COST %s', found.name, found.procost);",
    )
