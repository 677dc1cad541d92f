"""ALTER TABLE, form by form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pglast import ast
from pglast.stream import RawStream

from ...data import Data
from ...operations.relied_on import Relied
from ...plans.casts import is_wider, parse
from ..scene import Scene


class Effect(Data):
    """One thing that a statement does: a kind of COSTS, and the table that it is done to."""

    kind: str
    table: str
    column: str = ""


BRIEF = {
    "AT_AddColumn",
    "AT_DropNotNull",
    "AT_ColumnDefault",
    "AT_DropExpression",
    "AT_AddIdentity",
    "AT_DropIdentity",
    "AT_SetRelOptions",
    "AT_ResetRelOptions",
    "AT_ReplaceRelOptions",
    "AT_AddInherit",
    "AT_DropInherit",
    "AT_DisableRowSecurity",
    "AT_NoForceRowSecurity",
    "AT_DropOids",
    "AT_ReplicaIdentity",
    "AT_AlterConstraint",
    "AT_DetachPartition",
    "AT_DropCluster",
    "AT_SetStorage",
    "AT_SetCompression",
}
BRIEF_FOR_WRITERS = {
    f"AT_{verb}{what}"
    for verb, whats in {
        "EnableTrig": ["", "All", "User"],
        "DisableTrig": [""],
        "EnableAlways": ["Trig", "Rule"],
        "EnableReplica": ["Trig", "Rule"],
        "Enable": ["Rule"],
        "Disable": ["Rule"],
    }.items()
    for what in whats
}
DISABLES = {"AT_DisableTrigAll", "AT_DisableTrigUser"}
ONLINE = {"AT_ValidateConstraint"}
BRIEF_ONLINE = {"AT_SetStatistics", "AT_SetOptions", "AT_ResetOptions", "AT_ClusterOn"}
HIDES = {"AT_EnableRowSecurity", "AT_ForceRowSecurity"}
REWRITES = {"AT_SetTableSpace", "AT_SetLogged", "AT_SetUnLogged", "AT_SetAccessMethod", "AT_SetExpression"}


def effects(node: ast.AlterTableStmt, scene: Scene) -> Iterator[Effect] | None:
    """None where a form of it isn't known."""
    if node.objtype.name == "OBJECT_INDEX":
        return iter(_of_index(node))
    if node.objtype.name not in ("OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"):
        return iter(())  # a sequence, a view, a type: nobody waits for long
    found: list[Effect] = []
    # A check that goes in the same statement proves nothing any more.
    scene.dropping = {command.name for command in node.cmds if command.subtype.name == "AT_DropConstraint"}
    for command in node.cmds:
        each = _of_command(command, node.relation.relname, scene)
        if each is None:
            return None
        found += each
    return iter(found)


def _of_index(node: ast.AlterTableStmt) -> Iterator[Effect]:
    if any(command.subtype.name == "AT_SetTableSpace" for command in node.cmds):
        yield Effect("rewrite", node.relation.relname)


def _of_command(command: Any, table: str, scene: Scene) -> list[Effect] | None:
    form = command.subtype.name
    if form in OWN:
        return list(OWN[form](command, table, scene))
    if form in DISABLES:
        return [Effect("brief for writers" if _enables_again(table, scene) else "DISABLE TRIGGER", table)]
    for kind, forms in {
        "brief": BRIEF,
        "brief for writers": BRIEF_FOR_WRITERS,
        "online": ONLINE,
        "brief online": BRIEF_ONLINE,
        "rewrite": REWRITES,
        "row security": HIDES,
    }.items():
        if form in forms:
            return [Effect(kind, table)]
    return None


# Forms that need a second look.


def _enables_again(table: str, scene: Scene) -> bool:
    """Does the same transaction switch its triggers on again?"""
    again = any(table in text and "ENABLE TRIGGER" in text.upper() for text in scene.texts)
    return scene.is_new(table) or (scene.atomic and again)


def _drop_constraint(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    yield Effect("brief", table)
    found = scene.table(table)
    if command.behavior.name == "DROP_CASCADE":
        yield Effect("DROP CASCADE", table)
    elif found and command.name.endswith("_pkey"):
        yield Effect("DROP PRIMARY KEY", table)


def _add_column(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    column = command.def_
    forms = {each.contype.name: each for each in column.constraints or ()}
    yield Effect("brief", table)
    if _fills_itself(column, forms):
        yield Effect("ADD COLUMN that rewrites", table, column.colname)
    elif "CONSTR_NOTNULL" in forms and not forms.keys() & {"CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED"}:
        yield Effect("NOT NULL without a default", table, column.colname)
    if "CONSTR_CHECK" in forms:
        yield Effect("ADD COLUMN with a check", table, column.colname)
    if forms.keys() & {"CONSTR_UNIQUE", "CONSTR_PRIMARY"}:
        yield Effect("ADD UNIQUE", table, column.colname)
    if "CONSTR_FOREIGN" in forms:
        yield from _points_at(table, column.colname, forms)
    if forms.keys() >= {"CONSTR_NOTNULL", "CONSTR_DEFAULT"}:
        scene.required.add((table, column.colname))


def _points_at(table: str, column: str, forms: dict[str, Any]) -> Iterator[Effect]:
    """PostgreSQL looks up the value of each row, unless all are null."""
    if "CONSTR_DEFAULT" in forms:
        yield Effect("ADD FOREIGN KEY", table, column)
    yield Effect("brief for writers", forms["CONSTR_FOREIGN"].pktable.relname)


SERIAL = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}


def _fills_itself(column: Any, forms: dict[str, Any]) -> bool:
    """Does each row get a value of its own?"""
    if column.typeName.names[-1].sval in SERIAL or "CONSTR_IDENTITY" in forms:
        return True
    generated = forms.get("CONSTR_GENERATED")
    if generated is not None:
        return bool(generated.generated_kind == "s")
    default = forms.get("CONSTR_DEFAULT")
    return default is not None and is_volatile(default.raw_expr)


STABLE = {
    "now",
    "current_timestamp",
    "transaction_timestamp",
    "statement_timestamp",
    "current_setting",
    "lower",
    "upper",
    "md5",
    "coalesce",
    "to_char",
    "date_trunc",
    "jsonb_build_object",
    "jsonb_build_array",
    "json_build_object",
    "json_build_array",
    "concat",
    "array_fill",
    "int4range",
    "tstzrange",
    "make_interval",
    "to_timestamp",
    "timezone",
    "repeat",
    "length",
    "pg_current_xact_id",
    "current_database",
    "current_schema",
    "abs",
    "btrim",
    "ceil",
    "date",
    "floor",
    "left",
    "pi",
    "replace",
    "right",
    "round",
    "split_part",
    "substr",
    "substring",
    "to_date",
    "to_number",
    "trim",
    "trunc",
}


def is_volatile(expression: Any) -> bool:
    """Does it hold a function that isn't known to give one value for the whole statement?"""
    return any(name not in STABLE for name in functions_in(expression))


def functions_in(tree: Any) -> Iterator[str]:
    if isinstance(tree, ast.FuncCall):
        yield tree.funcname[-1].sval
    for value in parts(tree):
        yield from functions_in(value)


def parts(tree: Any) -> Iterator[Any]:
    if isinstance(tree, ast.Node):
        yield from (value for name in tree if isinstance(value := getattr(tree, name, None), ast.Node | tuple))
    elif isinstance(tree, tuple):
        yield from tree


def _drop_column(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    yield Effect("DROP" if scene.is_used(table, command.name) else "brief", table, command.name)


def _alter_type(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    new = type_of(command.def_.typeName)
    found = scene.table(table)
    old = known_type(found.field(command.name)) if found else ""
    instant = old and not command.def_.collClause and _is_kept(command, old, new) and is_instant(old, new)
    kind = "brief" if instant else "ALTER TYPE"
    if found and instant and old != new:
        key = found.model.app_label, found.model.name_lower
        if Relied(scene.state, key, found.name_of(command.name), old, new).is_made_anew_with_it:
            kind = "ALTER TYPE that makes anew"
    yield Effect(kind, table, command.name)


def _is_kept(command: Any, old: str, new: str) -> bool:
    """Is there no USING, or one that only casts the column, which PostgreSQL sees through?"""
    using = command.def_.raw_default
    if using is None:
        return True
    own = isinstance(using, ast.TypeCast) and isinstance(using.arg, ast.ColumnRef)
    if not own or using.arg.fields[-1].sval != command.name:
        return False
    cast = type_of(using.typeName)
    return is_instant(old, cast) and is_instant(cast, new)


def type_of(name: Any) -> str:
    """The type as Django spells it: "varchar(50)"; PostgreSQL's own names of integers are turned into SQL's."""
    text = str(RawStream()(name)).lower()
    return text.replace("character varying", "varchar").replace("pg_catalog.", "")


def known_type(field: Any) -> str:
    """The type of a field's column, where it has no other than Django's own; empty where that isn't known."""
    kind = field.get_internal_type() if field is not None else ""
    if kind in ("CharField", "SlugField", "FileField", "FilePathField"):
        return f"varchar({field.max_length})" if field.max_length else "varchar"
    if kind == "DecimalField":
        return f"numeric({field.max_digits}, {field.decimal_places})"
    if type(field).__module__.startswith("django."):
        return OTHERS.get(kind, "")
    return ""


OTHERS = {
    "TextField": "text",
    "IntegerField": "integer",
    "BigIntegerField": "bigint",
    "SmallIntegerField": "smallint",
    "PositiveIntegerField": "integer",
    "AutoField": "integer",
    "BigAutoField": "bigint",
    "GenericIPAddressField": "inet",
}


def is_instant(old: str, new: str) -> bool:
    """Does PostgreSQL change the type without looking at a row?"""
    if old == new:
        return True
    (old_name, old_size), (new_name, new_size) = parse(old), parse(new)
    if old_name == new_name == "numeric":
        return not new_size or (is_wider(old, new) and old_size[1:] == new_size[1:])
    return old_name in ("varchar", "text") and new_name in ("varchar", "text") and is_wider(old, new)


def is_the_first(value: Any) -> bool:
    """Is a sequence set back to where it began?"""
    if isinstance(value, ast.A_Const):
        value = value.val
    return value is None or (isinstance(value, ast.Integer) and (value.ival or 0) <= 1)


def restarts(options: Any) -> bool:
    return any(option.defname == "restart" and is_the_first(option.arg) for option in options or ())


def _identity(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    yield Effect("RESTART" if restarts(command.def_) else "brief", table, command.name)


def _set_not_null(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    proven = scene.proofs(table, command.name) - scene.dropping
    yield Effect("brief" if proven else "SET NOT NULL", table, command.name)


def _default(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    found = scene.table(table)
    field = found.field(command.name) if found else None
    is_known = field is not None and not field.null and field.has_db_default()
    relied_on = is_known or (table, command.name) in scene.required
    yield Effect("DROP DEFAULT" if relied_on and command.def_ is None else "brief", table, command.name)


def _add_constraint(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    constraint = command.def_
    kind = constraint.contype.name
    if constraint.indexname:
        yield Effect("brief", table)
    elif kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        yield Effect("ADD UNIQUE", table)
    elif kind == "CONSTR_EXCLUSION":
        yield Effect("ADD EXCLUDE", table)
    elif kind == "CONSTR_FOREIGN":
        yield Effect("brief for writers" if constraint.skip_validation else "ADD FOREIGN KEY", table)
        yield Effect("brief for writers", constraint.pktable.relname)
    elif constraint.skip_validation:
        yield Effect("brief", table)
    else:
        yield Effect("SET NOT NULL" if kind == "CONSTR_NOTNULL" else "ADD CHECK", table)


def _owner(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    yield Effect("OWNER" if scene.is_used(table) else "brief", table)


def _attach(command: Any, table: str, scene: Scene) -> Iterator[Effect]:
    yield Effect("online", table)
    yield Effect("ATTACH PARTITION", command.def_.name.relname)


OWN = {
    "AT_AddColumn": _add_column,
    "AT_DropColumn": _drop_column,
    "AT_AlterColumnType": _alter_type,
    "AT_DropConstraint": _drop_constraint,
    "AT_SetIdentity": _identity,
    "AT_SetNotNull": _set_not_null,
    "AT_ColumnDefault": _default,
    "AT_AddConstraint": _add_constraint,
    "AT_AttachPartition": _attach,
    "AT_ChangeOwner": _owner,
}
