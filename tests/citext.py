"""The type citext as its extension makes it, for servers that lack extensions. Only its comparison is in SQL."""

from __future__ import annotations

from django.db.migrations import RunSQL

OPERATORS = {
    "<": ("lt", ">", ">=", "scalarltsel"),
    "<=": ("le", ">=", ">", "scalarlesel"),
    "=": ("eq", "=", "<>", "eqsel"),
    ">=": ("ge", "<=", "<", "scalargesel"),
    ">": ("gt", "<", "<=", "scalargtsel"),
}

TYPE = """
    CREATE TYPE citext;
    CREATE FUNCTION citextin(cstring) RETURNS citext AS 'textin' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
    CREATE FUNCTION citextout(citext) RETURNS cstring AS 'textout' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
    CREATE FUNCTION citextrecv(internal) RETURNS citext AS 'textrecv' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
    CREATE FUNCTION citextsend(citext) RETURNS bytea AS 'textsend' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
    CREATE TYPE citext (
        INPUT = citextin, OUTPUT = citextout, RECEIVE = citextrecv, SEND = citextsend,
        INTERNALLENGTH = VARIABLE, STORAGE = extended, CATEGORY = 'S', PREFERRED = false, COLLATABLE = true
    );
    CREATE CAST (citext AS text) WITHOUT FUNCTION AS IMPLICIT;
    CREATE CAST (citext AS varchar) WITHOUT FUNCTION AS IMPLICIT;
    CREATE CAST (text AS citext) WITHOUT FUNCTION AS ASSIGNMENT;
    CREATE CAST (varchar AS citext) WITHOUT FUNCTION AS ASSIGNMENT;
    CREATE FUNCTION citext_cmp(citext, citext) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        AS $$ SELECT bttextcmp(lower($1::text), lower($2::text)) $$;
"""
OPERATOR = """
    CREATE FUNCTION citext_{name}(citext, citext) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        AS $$ SELECT lower($1::text) {sign} lower($2::text) $$;
    CREATE OPERATOR {sign} (
        LEFTARG = citext, RIGHTARG = citext, COMMUTATOR = {commutator}, NEGATOR = {negator}, PROCEDURE = citext_{name},
        RESTRICT = {estimate}
    );
"""
UNEQUAL = OPERATOR.format(sign="<>", name="ne", commutator="<>", negator="=", estimate="neqsel")
CLASS = (
    "CREATE OPERATOR CLASS citext_ops DEFAULT FOR TYPE citext USING btree AS {}, FUNCTION 1 citext_cmp(citext, citext)"
)


def _sql() -> str:
    operators = [
        OPERATOR.format(sign=sign, name=name, commutator=commutator, negator=negator, estimate=estimate)
        for sign, (name, commutator, negator, estimate) in OPERATORS.items()
    ]
    numbered = ", ".join(f"OPERATOR {number} {sign}" for number, sign in enumerate(OPERATORS, 1))
    return "".join([TYPE, *operators, UNEQUAL, CLASS.format(numbered)])


CREATE = RunSQL(_sql(), "DROP TYPE citext CASCADE")
