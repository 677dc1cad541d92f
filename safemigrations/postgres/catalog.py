"""Questions to pg_catalog, as SQL, and names as PostgreSQL makes them.

A table is always given quoted, as it stands in a statement, and looked up by to_regclass: so the search_path
decides, exactly as it does for the statement itself. Other names are given raw.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

NAME_LENGTH = 63  # bytes; NAMEDATALEN - 1
PREFIX = "safemig_"
COPY = f"{PREFIX}twin_"  # of the indexes that a twin has until the contract
VIEW_MARK = "safemigrations: the old name of a table, until migrate --contract"


def literal(text: str) -> str:
    """A string constant."""
    return "'" + text.replace("'", "''") + "'"


def raw(name: str) -> str:
    """A name without the quotes that a db_table or db_column may carry."""
    return name[1:-1] if name.startswith('"') and name.endswith('"') else name


def identifier(name: str) -> str:
    """A name as PostgreSQL keeps it: cut, without a word, where it is too long."""
    return _clip(name, NAME_LENGTH)


def regclass(table: str) -> str:
    return f"to_regclass({literal(table)})"


def table_exists(table: str) -> str:
    return f"SELECT 1 WHERE {regclass(table)} IS NOT NULL"


def table_missing(table: str) -> str:
    return f"SELECT 1 WHERE {regclass(table)} IS NULL"


def is_table(table: str) -> str:
    return f"SELECT 1 FROM pg_class WHERE oid = {regclass(table)} AND relkind IN ('r', 'p')"


def is_marked_view(view: str) -> str:
    """One of ours, which the contract drops."""
    return f"SELECT 1 FROM pg_class WHERE oid = {regclass(view)} AND relkind = 'v' AND {_marked('oid')}"


def _marked(oid: str) -> str:
    return f"coalesce(obj_description({oid}, 'pg_class') = {literal(VIEW_MARK)}, FALSE)"


def _attribute(table: str, column: str, condition: str = "") -> str:
    return (
        "SELECT 1 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        f" WHERE a.attrelid = {regclass(table)} AND a.attname = {literal(column)} AND NOT a.attisdropped{condition}"
    )


def column_exists(table: str, column: str) -> str:
    return _attribute(table, column)


def column_missing(table: str, column: str) -> str:
    return f"SELECT 1 WHERE NOT EXISTS ({_attribute(table, column)})"


NOT_VALID = (  # of PostgreSQL 18; attnotnull is true already
    "EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'"
    " AND a.attnum = ANY (k.conkey) AND NOT k.convalidated)"
)


def column_not_null(table: str, column: str) -> str:
    return _attribute(table, column, f" AND a.attnotnull AND NOT {NOT_VALID}")


def column_forbids_null(table: str, column: str) -> str:
    """Is it NOT NULL ... NOT VALID?"""
    return _attribute(table, column, f" AND a.attnotnull AND {NOT_VALID}")


def column_nullable(table: str, column: str) -> str:
    return _attribute(table, column, " AND NOT a.attnotnull")


def column_has_default(table: str, column: str) -> str:
    return _attribute(table, column, " AND d.oid IS NOT NULL")


def column_has_no_default(table: str, column: str) -> str:
    return _attribute(table, column, " AND d.oid IS NULL")


def constraint_exists(table: str, name: str, *, validated: bool = False, kind: str = "") -> str:
    """`kind` as pg_constraint.contype has it: one of another kind doesn't count."""
    more = f" AND contype = {literal(kind)}" if kind else ""
    more += " AND convalidated" if validated else ""
    name = literal(identifier(name))
    return f"SELECT 1 FROM pg_constraint WHERE conrelid = {regclass(table)} AND conname = {name}{more}"


def foreign_key_of_partitions(table: str, name: str, code: str) -> str:
    """Have the partitions a foreign key of this name, and of this confdeltype, that is not yet the table's?"""
    return (
        f"SELECT 1 FROM pg_constraint WHERE conname = {literal(name)} AND contype = 'f' AND confdeltype = '{code}'"
        f" AND conrelid IN (SELECT relid FROM pg_partition_tree({regclass(table)}))"
    )


def constraint_missing_everywhere(table: str, name: str) -> str:
    """Have neither the table nor its partitions a constraint of this name?"""
    parts = f"SELECT {regclass(table)}::oid UNION SELECT relid::oid FROM pg_partition_tree({regclass(table)})"
    found = f"SELECT FROM pg_constraint WHERE conname = {literal(name)} AND conrelid IN ({parts})"
    return f"SELECT 1 WHERE NOT EXISTS ({found})"


def unique_exists(table: str, name: str) -> str:
    """A unique constraint; of a partitioned table, one that all partitions have."""
    return (
        "SELECT 1 FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid"
        f" WHERE k.conrelid = {regclass(table)} AND k.conname = {literal(identifier(name))} AND k.contype = 'u'"
        " AND i.indisvalid"
    )


def constraint_missing(table: str, name: str, *, kind: str = "") -> str:
    return f"SELECT 1 WHERE NOT EXISTS ({constraint_exists(table, name, kind=kind)})"


def _number(column: str, relation: str) -> str:
    """The attribute number of a column, inside a query that has its table as `relation`."""
    return f"(SELECT attnum FROM pg_attribute WHERE attrelid = {relation} AND attname = {literal(column)})"


def foreign_keys(table: str, column: str) -> str:
    """The names of the foreign keys of one column."""
    return (
        f"SELECT conname FROM pg_constraint WHERE conrelid = {regclass(table)} AND contype = 'f'"
        f" AND conkey = ARRAY[{_number(column, 'conrelid')}]"
    )


def constraints_of_field(table: str, columns: Iterable[str], kind: str, *, names: Iterable[str]) -> str:
    """The constraints over exactly these columns, of one contype, that aren't those of Meta.constraints."""
    attributes = ", ".join(map(literal, columns))
    found = (
        f"SELECT conname::text FROM pg_constraint WHERE conrelid = {regclass(table)} AND contype = '{kind}' AND"
        " (SELECT array_agg(attname::text ORDER BY attname::text) FROM pg_attribute WHERE attrelid = conrelid AND"
        " attnum = ANY (conkey))"
        f" = (SELECT array_agg(name ORDER BY name) FROM unnest(ARRAY[{attributes}]::text[]) AS name)"
    )
    return _named(found, names, {"u": "_(uniq|key[0-9]*)$", "c": "_check[0-9]*$"}[kind])


def index_of_field(table: str, column: str, *, name: str) -> str:
    """The b-tree index over this column alone, not unique, that isn't one of Meta.indexes; for LIKE if so named."""
    like = name.endswith("_like")
    found = (
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree' JOIN pg_opclass o ON o.oid = i.indclass[0]"
        f" WHERE i.indrelid = {regclass(table)} AND NOT i.indisunique AND i.indnatts = 1 AND i.indpred IS NULL"
        f" AND i.indkey[0] = {_number(column, 'i.indrelid')}"
        f" AND (o.opcname LIKE '%pattern_ops') = {str(like).upper()}"
    )
    return _named(found, [name], "_[0-9a-f]{8}_like$" if like else "_[0-9a-f]{8}$")


def _named(found: str, names: Iterable[str], pattern: str) -> str:
    """Of these the one with a name that Django or PostgreSQL makes up; one of Meta may have come in its place.

    A table or a column that was renamed since keeps a name that nobody can compute, but can recognise.
    """
    exactly = f"conname IN ({', '.join(map(literal, names))})"
    alike = f"conname ~ {literal(pattern)} AND NOT EXISTS (SELECT FROM there WHERE {exactly})"
    return f"WITH there(conname) AS ({found}) SELECT conname FROM there WHERE {exactly} OR ({alike})"


def column_has_type(table: str, column: str, type_: str) -> str:
    """Has the column this type, its limits included?"""
    return _attribute(
        table, column, f" AND replace(format_type(a.atttypid, a.atttypmod), ', ', ',') = {literal(_canonical(type_))}"
    )


def _canonical(type_: str) -> str:
    """A type as format_type() spells it, without spaces between its limits."""
    return type_.replace("varchar", "character varying").replace(", ", ",")


def index_exists(table: str, name: str) -> str:
    return (
        "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" WHERE i.indrelid = {regclass(table)} AND c.relname = {literal(identifier(name))}"
    )


def valid_index_exists(table: str, name: str) -> str:
    return f"{index_exists(table, name)} AND i.indisvalid"


def unique_index_on(table: str, column: str) -> str:
    """Does a unique index know this column, alone or with others, in its key, an expression or its condition?"""
    return (
        "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        f" WHERE i.indrelid = {regclass(table)} AND i.indisunique AND a.attname = {literal(column)}"
        " AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend d WHERE d.objid = i.indexrelid"
        " AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))"
    )


def trigger_exists(table: str, name: str) -> str:
    return f"SELECT 1 FROM pg_trigger WHERE tgrelid = {regclass(table)} AND tgname = {literal(name)}"


def trigger_missing(table: str, name: str) -> str:
    return f"SELECT 1 WHERE NOT EXISTS ({trigger_exists(table, name)})"


def users_of_table(table: str, *, also_dropped: Iterable[str] = (), foreign_keys: str = "TRUE") -> str:
    """What a DROP TABLE would trip over: views, foreign keys, functions and whatever else is not the table's own.

    What hangs on tables that are dropped with it doesn't count. `foreign_keys` is a condition for those that do.
    """
    ours = ", ".join(f"coalesce({regclass(name)}, 0)" for name in (table, *also_dropped))
    own = (
        "SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass"
        f" AND refobjid = {regclass(table)} AND deptype IN ('a', 'i')"
    )
    return (
        "SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)"
        " ELSE pg_describe_object('pg_class'::regclass, r.ev_class, 0) END"
        " FROM pg_class t JOIN pg_depend d ON d.deptype = 'n' AND ("
        f"d.refclassid = 'pg_class'::regclass AND (d.refobjid = t.oid OR d.refobjid IN ({own}))"
        " OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM pg_type WHERE oid = t.reltype"
        " UNION SELECT typarray FROM pg_type WHERE oid = t.reltype))"
        " LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
        " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
        " LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid"
        " LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid"
        " LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid"
        f" WHERE t.oid = {regclass(table)}"
        f" AND coalesce(r.ev_class, k.conrelid, p.polrelid, g.tgrelid, a.adrelid, 0) NOT IN ({ours})"
        f" AND (k.contype IS DISTINCT FROM 'f' OR {foreign_keys}) AND (r.oid IS NULL OR NOT {_marked('r.ev_class')})"
    )


def differ(first: str, second: str) -> str:
    """Do two values differ in a single bit? For any type, also where `=` is missing or takes unequal values for equal.

    It is the function behind `*<>`, because pg_dump writes the operator in a trigger's WHEN without the casts that it
    needs, and what it wrote can't be restored.
    https://www.postgresql.org/docs/current/functions-comparisons.html#COMPOSITE-TYPE-COMPARISON
    """
    return f"pg_catalog.record_image_ne(ROW({first}), ROW({second}))"


def _depends_on(table: str, column: str) -> str:
    """To follow `FROM pg_depend d JOIN ...`: what depends on this column."""
    return (
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        f" WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {regclass(table)}"
        f" AND a.attname = {literal(column)}"
    )


def watchers_of_column(table: str, column: str) -> str:
    """What reacts to a write of the column and wouldn't notice one under another name."""
    return (
        "SELECT 'trigger ' || t.tgname FROM pg_depend d"
        " JOIN pg_trigger t ON t.oid = d.objid AND d.classid = 'pg_trigger'::regclass"
        f"{_depends_on(table, column)} AND NOT t.tgisinternal AND t.tgname NOT LIKE 'zzz\\_{PREFIX}%'"
        " UNION SELECT 'rule ' || r.rulename FROM pg_depend d"
        " JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass"
        f"{_depends_on(table, column)} AND r.ev_class = d.refobjid"
        " UNION SELECT 'partition key' FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid"
        f" AND a.attnum = ANY (p.partattrs) WHERE p.partrelid = {regclass(table)} AND a.attname = {literal(column)}"
    )


def dependents_of_column(table: str, column: str, *, but: Iterable[str] = ()) -> str:
    """What keeps a column from being dropped: all that depends on it and doesn't vanish with it, or before it.

    Generated columns and foreign keys of what is named in `but` ("column note of shop_order", "table shop_order")
    don't count, nor do views of ours.
    """
    going = ", ".join(["''", *map(literal, sorted(but))])
    return (
        "SELECT regexp_replace(regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid), '^rule _RETURN on ',"
        " ''), '^default value for', 'generated') FROM pg_depend d"
        f"{_depends_on(table, column)} AND d.deptype = 'n' AND NOT EXISTS (SELECT FROM pg_depend o"
        " WHERE (o.classid, o.objid, o.refobjid, o.refobjsubid) = (d.classid, d.objid, d.refobjid, d.refobjsubid)"
        " AND o.deptype = 'a')"
        f" AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.oid = d.objid AND t.tgname LIKE 'zzz\\_{PREFIX}%')"
        f" AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.oid = d.objid AND {_marked('r.ev_class')})"
        " AND NOT EXISTS (SELECT FROM (SELECT oid, adrelid, ARRAY[adnum] FROM pg_attrdef"
        " UNION ALL SELECT oid, conrelid, conkey FROM pg_constraint WHERE contype = 'f') AS g (oid, relation, columns)"
        " JOIN pg_class c ON c.oid = g.relation"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (g.columns)"
        " WHERE g.oid = d.objid AND ARRAY[format('table %s', c.relname), format('column %s of %s', a.attname,"
        f" c.relname)] && ARRAY[{going}]) ORDER BY 1"
    )


def functions_naming(table: str, column: str) -> str:
    """The functions of the table's triggers that take a column of NEW or OLD without looking whether it is there.

    PostgreSQL doesn't know what the text of a function depends on: it is only found when the function is called.
    """
    name = re.escape(column)
    uses = literal(rf"\m(new|old)\s*\.\s*(\"{name}\"|{name}(?![\w$]))")
    looks = literal(rf"\?\s*'{name}'")
    return (
        "SELECT DISTINCT p.oid::regprocedure::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid = {regclass(table)} AND NOT t.tgisinternal AND t.tgname NOT LIKE 'zzz\\_{PREFIX}%'"
        f" AND p.prosrc ~* {uses} AND p.prosrc !~ {looks} ORDER BY 1"
    )


def functions_using(tables: Iterable[str]) -> str:
    """The functions of other tables' triggers that read or write these tables, as their text has it.

    See functions_naming(). What only looks like a name, as ORDER BY, doesn't count.
    """
    oids = ", ".join(f"coalesce({regclass(table)}, 0)" for table in tables)
    names = "|".join(re.escape(bare(table)) for table in tables)
    words = r"\m(from|join|into|update|table|only|using)\s+"
    uses = rf"{words}(only\s+)?(\"?[\w$]+\"?\.)?(\"({names})\"|({names})(?![\w$]))"
    return (
        "SELECT DISTINCT p.oid::regprocedure::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid NOT IN ({oids}) AND NOT t.tgisinternal AND p.prosrc ~* {literal(uses)} ORDER BY 1"
    )


def _columns(names: Iterable[str]) -> str:
    return ", ".join(map(literal, names))


def stuck_to_column(table: str, column: str, children: Iterable[tuple[str, str]]) -> str:
    """What would stay behind on a column whose name and place another one takes over.

    Not its own default, indexes, constraints and sequence, nor the foreign keys of `children`, tables and columns that
    are exchanged with it: those are seen to.
    """
    known = " OR ".join(
        f"(k.conrelid = {regclass(child)} AND k.conkey = ARRAY[{_number(name, 'k.conrelid')}])"
        for child, name in children
    )
    seen_to = (
        "(k.conrelid = d.refobjid"
        " AND (k.contype IN ('p', 'u', 'c', 'n') OR k.contype = 'f' AND cardinality(k.conkey) = 1)"
        f" OR k.contype = 'f' AND (k.conparentid <> 0 OR {known or 'FALSE'}))"
    )
    return (
        "SELECT regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid), '^rule _RETURN on ', '')"
        " FROM pg_depend d"
        " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
        " LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid"
        " LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid"
        " LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid"
        f"{_depends_on(table, column)} AND coalesce(c.relkind, 'r') NOT IN ('i', 'I', 'S')"
        f" AND NOT coalesce({seen_to}, FALSE) AND NOT coalesce(f.adnum = a.attnum AND a.attgenerated = '', FALSE)"
        f" AND NOT coalesce(t.tgname LIKE 'zzz\\_{PREFIX}%', FALSE)"
        " UNION SELECT 'partition key' FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid"
        f" AND a.attnum = ANY (p.partattrs) WHERE p.partrelid = {regclass(table)} AND a.attname = {literal(column)}"
        f" UNION {functions_in_order(table)}"
    )


def functions_in_order(table: str) -> str:
    """The functions of the table's triggers that break where the row has a column more: INSERT ... SELECT NEW.*"""
    in_order = literal(r"\m(insert\s+into|select|values)\M[^;]*\m(new|old)\s*\.\s*\*")
    return (
        "SELECT format('function %s, which takes the columns in their order and has to name them', p.oid::regprocedure)"
        " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid = {regclass(table)} AND NOT t.tgisinternal AND t.tgname NOT LIKE 'zzz\\_{PREFIX}%'"
        f" AND p.prosrc ~* {in_order}"
    )


def sequence_beyond(table: str, column: str, limit: int) -> str:
    """The sequence that numbers a column, and where it stands, if that is beyond the limit."""
    return (
        "SELECT c.oid::regclass, pg_sequence_last_value(c.oid) FROM pg_class c"
        f" WHERE c.oid = pg_get_serial_sequence({literal(table)}, {literal(column)})::regclass"
        f" AND pg_sequence_last_value(c.oid) > {limit}"
    )


def column_is(table: str, column: str, type_: str, collation: str = "") -> str:
    """Has the column this type, with its limits, and this collation (quoted; that of the type, if empty)?"""
    numbers = "regexp_replace(format_type(a.atttypid, a.atttypmod), '[^0-9,]', '', 'g')"
    wanted = literal(re.sub("[^0-9,]", "", type_))
    of_type = "(SELECT typcollation FROM pg_type WHERE oid = a.atttypid)"
    right_collation = f"to_regcollation({literal(collation)})" if collation else of_type
    right_type = f"a.atttypid = to_regtype({literal(type_)}) AND {numbers} = {wanted}"
    return _attribute(table, column, f" AND {right_type} AND a.attcollation = {right_collation}")


def indexes_knowing(table: str, *columns: str) -> str:
    """The valid indexes that have one of the columns in their key, an expression or their condition, oldest first.

    A row is the index's name, whether it refuses duplicates at once, as ON CONFLICT wants it, whether it has an
    expression, and what comes in its definition after the name of the table.
    """
    head = (
        "format('CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname,"
        " CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END, n.nspname, t.relname)"
    )
    return (
        "SELECT c.relname, i.indisunique AND i.indimmediate AND NOT i.indisexclusion, i.indexprs IS NOT NULL,"
        f" substr(pg_get_indexdef(c.oid), length({head}) + 1)"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = t.relnamespace"
        f" WHERE t.oid = {regclass(table)} AND i.indisvalid AND EXISTS (SELECT FROM pg_attribute a"
        f" WHERE a.attrelid = t.oid AND a.attname IN ({_columns(columns)})"
        " AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
        " AND d.objid = c.oid AND d.refobjid = t.oid AND d.refobjsubid = a.attnum))) ORDER BY c.oid"
    )


def constraint_of_index(table: str, name: str) -> str:
    """The constraint behind an index, if there is one: its kind, and DEFERRABLE as it would be written."""
    return (
        "SELECT k.contype::text, CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'"
        " WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END FROM pg_constraint k"
        f" WHERE k.conrelid = {regclass(table)} AND k.conname = {literal(name)}"
    )


def checks_knowing(table: str, *columns: str) -> str:
    """The check constraints that name one of the columns, oldest first: name, and definition as in ADD CONSTRAINT."""
    return (
        "SELECT k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k"
        f" WHERE k.conrelid = {regclass(table)} AND k.contype = 'c' AND EXISTS (SELECT FROM pg_attribute a"
        f" WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attname IN ({_columns(columns)}))"
        " ORDER BY k.oid"
    )


def columns_of_constraint(table: str, name: str) -> str:
    """The columns of a constraint, in its order."""
    return (
        "SELECT a.attname FROM pg_constraint k, unnest(k.conkey) WITH ORDINALITY AS n(attnum, place)"
        " JOIN pg_attribute a USING (attnum)"
        f" WHERE k.conrelid = {regclass(table)} AND k.conname = {literal(name)} AND a.attrelid = k.conrelid"
        " ORDER BY n.place"
    )


# One row: relkind of the table; then, of the index of that name: its qualified name, whether it is valid, and
# the pid of the backend that is building it right now.
def index_state(table: str, name: str) -> str:
    return (
        "SELECT t.relkind::text, i.indexrelid::regclass::text, i.indisvalid,"
        " (SELECT p.pid FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid"
        " AND p.datname = current_database() LIMIT 1)"
        " FROM pg_class t LEFT JOIN (pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" AND c.relname = {literal(identifier(name))}) ON i.indrelid = t.oid WHERE t.oid = {regclass(table)}"
    )


def partitions(table: str) -> str:
    """The direct partitions of a table: qualified name, bare name, relkind, schema."""
    return (
        "SELECT format('%I.%I', n.nspname, c.relname), c.relname, c.relkind::text, n.nspname"
        " FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE h.inhparent = {regclass(table)} AND c.relispartition ORDER BY c.oid"
    )


def index_attached(parent: str, child: str) -> str:
    """Is one index (qualified) a partition of the other?"""
    return f"SELECT 1 FROM pg_inherits WHERE inhparent = {regclass(parent)} AND inhrelid = {regclass(child)}"


def index_of_partition(parent: str, partition: str) -> str:
    """Has a partition an index that belongs to this one (qualified) of its table?"""
    return (
        "SELECT 1 FROM pg_inherits h JOIN pg_index i ON i.indexrelid = h.inhrelid"
        f" WHERE h.inhparent = {regclass(parent)} AND i.indrelid = {regclass(partition)}"
    )


def name_taken(schema: str, name: str, partition: str) -> str:
    """Does something have this name that isn't an index of the partition which still lacks its parent?"""
    return (
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE n.nspname = {literal(schema)} AND c.relname = {literal(name)} AND NOT EXISTS (SELECT FROM pg_index i"
        f" WHERE i.indexrelid = c.oid AND i.indrelid = {regclass(partition)} AND NOT c.relispartition)"
    )


def beside(table: str, name: str) -> str:
    """The quoted name of an index of a table, in the table's schema where that is given."""
    schema, dot, _ = table.rpartition('"."')
    return f'{schema}"."{name}"' if dot else f'"{name}"'


def bare(table: str) -> str:
    """A quoted, perhaps qualified table name without its schema and quotes."""
    return table.rpartition('"."')[2].strip('"')


def _clip(text: str, length: int) -> str:
    return text.encode()[:length].decode(errors="ignore")


def temporary_name(*parts: str, prefix: str = PREFIX, between: str = "_") -> str:
    """A name for an object that doesn't outlive the contract, from the names it belongs to."""
    name = prefix + between.join(parts)
    if len(name.encode()) <= NAME_LENGTH:
        return name
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return _clip(name, NAME_LENGTH - 9) + "_" + digest


def name_of_copy(table: str, definition: str) -> str:
    """The name of an index that stands in for another one until the contract: the same definition, the same name."""
    return f"{COPY}{hashlib.sha256(f'{table} {definition}'.encode()).hexdigest()[:16]}"


def scope_of_counterparts(table: str, columns: Iterable[str]) -> str:
    """What name_of_copy() takes for a table here: an index over two columns may be exchanged for each of them."""
    return " ".join([table, *sorted(columns)])


def copy_of(scope: str, name: str) -> str:
    """name_of_copy() as SQL, of a name that only the catalog knows."""
    text = f"convert_to({literal(f'{scope} ')} || {name}, 'UTF8')"
    return f"({literal(COPY)} || left(encode(sha256({text}), 'hex'), 16))"


def numbered(name: str, number: int) -> str:
    """name, name1, name2: as PostgreSQL finds one that is free."""
    return _clip(name, NAME_LENGTH - len(str(number))) + str(number) if number else name


def object_name(table: str, column: str, label: str) -> str:
    """The name that PostgreSQL gives to a constraint that was given none.

    As makeObjectName() in src/backend/commands/indexcmds.c does it: the longer of the two is cut first.
    """
    room = NAME_LENGTH - len(label) - 2
    first, second = len(table.encode()), len(column.encode())
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return f"{_clip(table, first)}_{_clip(column, second)}_{label}"


def is_server(version: int) -> str:
    """Is this PostgreSQL of the major version, or a later one?"""
    return f"SELECT 1 WHERE current_setting('server_version_num')::int >= {version * 10_000}"


def is_partitioned(table: str, *, before: int) -> str:
    """Is this a partitioned table of a PostgreSQL before the major version?"""
    return (
        f"SELECT 1 FROM pg_class WHERE oid = {regclass(table)} AND relkind = 'p'"
        f" AND current_setting('server_version_num')::int < {before * 10_000}"
    )


def alter_partitions(table: str, change: str, *, leaves_only: bool = True) -> str:
    """A statement that alters every partition that has rows of its own, or the table and then all of them."""
    which = " WHERE isleaf" if leaves_only else " ORDER BY level"
    parts = f"SELECT relid::regclass::text AS name FROM pg_partition_tree({regclass(table)}){which}"
    return for_each(parts, f"EXECUTE format('ALTER TABLE %s %s', found.name, {literal(change)});")


def drop_found(table: str) -> str:
    """The body of for_each() over the names of constraints, `conname`: drop each."""
    return f"EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', {literal(table)}, found.conname);"


def for_each(query: str, body: str) -> str:
    """A statement that runs `body` (PL/pgSQL) for each row, `found`, of a query: for names only the catalog knows."""
    return f"DO $safemig$ DECLARE found record; BEGIN FOR found IN {query} LOOP {body} END LOOP; END $safemig$"
