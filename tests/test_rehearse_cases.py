"""Every change, rehearsed by the command: a stock operation that breaks a release is named, and ours pass.

Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, every case. The default run takes a stock operation that harms
nobody; tests/test_rehearse.py has one that does, and tests/test_rehearsal_bites.py has ours, in a smaller project.
"""

from __future__ import annotations

from typing import Any

import pytest

from .cases import CASES, Case
from .rehearsed import rehearse, write_case
from .representatives import ONE_IN

# Stock operations that keep others waiting, or do nothing that these two releases would notice: they add what both have
# room for (a nullable column, an index, a constraint that no row violates, a longer or larger type, a smaller one in
# which all fits that is made up), or take away what nobody names in a statement.
UNHARMED = [
    "add_check_constraint",
    "add_check_constraint_enforced_by_expand",
    "add_check_constraint_of_long_name",
    "add_check_constraint_on_child_model",
    "add_check_constraint_on_partitioned_table",
    "add_field_auto_now_indexed",
    "add_field_db_default",
    "add_field_db_default_indexed",
    "add_field_db_default_now",
    "add_field_db_default_nullable",
    "add_field_db_default_positive",
    "add_field_db_default_volatile",
    "add_field_many_to_many",
    "add_field_many_to_many_to_itself",
    "add_field_nullable",
    "add_field_nullable_indexed",
    "add_field_nullable_on_partitioned_table",
    "add_field_nullable_positive",
    "add_field_nullable_unique",
    "add_field_nullable_with_default",
    "add_index",
    "add_index_gin",
    "add_index_on_child_model",
    "add_index_on_expression",
    "add_index_on_partitioned_table",
    "add_index_with_condition",
    "add_index_with_expression_opclass",
    "add_index_with_include",
    "add_index_with_opclass",
    "add_unique_constraint",
    "add_unique_constraint_deferrable",
    "add_unique_constraint_nulls_are_same",
    "add_unique_constraint_of_long_name",
    "add_unique_constraint_on_child_model",
    "add_unique_constraint_on_expressions",
    "add_unique_constraint_on_expressions_of_partitioned_table",
    "add_unique_constraint_on_partitioned_table",
    "add_unique_constraint_with_condition",
    "add_unique_constraint_with_expression_opclass",
    "add_unique_constraint_with_include",
    "add_unique_constraint_with_opclasses",
    "add_unique_together",
    "add_unique_together_on_partitioned_table",
    "alter_field_bigger",
    "alter_field_bigger_and_indexed",
    "alter_field_bigger_in_check_constraint",
    "alter_field_bigger_in_unique_constraint",
    "alter_field_bigger_key",
    "alter_field_bigger_key_of_itself",
    "alter_field_bigger_key_of_parent",
    "alter_field_bigger_on_partitioned_table",
    "alter_field_bigger_positive",
    "alter_field_bigger_with_check",
    "alter_field_bigger_without_check",
    "alter_field_choices",
    "alter_field_collation",
    "alter_field_collation_db_default",
    "alter_field_db_default",
    "alter_field_db_index",
    "alter_field_digits_on_the_other_side",
    "alter_field_fewer_digits",
    "alter_field_foreign_key_nullable",
    "alter_field_may_be_null",
    "alter_field_more_digits",
    "alter_field_no_db_index",
    "alter_field_not_one_to_one",
    "alter_field_not_positive",
    "alter_field_one_to_one",
    "alter_field_positive",
    "alter_field_shorter",
    "alter_field_shorter_in_unique_together",
    "alter_field_shorter_unique",
    "alter_field_smaller_key",
    "alter_field_text_indexed",
    "alter_field_text_to_char",
    "alter_field_text_unique",
    "alter_field_text_without_case",
    "alter_field_to_parent_model",
    "alter_field_unique",
    "alter_field_unique_for_db_index",
    "alter_field_wider",
    "alter_field_wider_and_unique",
    "alter_field_wider_in_index_with_condition",
    "alter_field_wider_that_is_pointed_at",
    "alter_field_with_db_constraint",
    "alter_field_without_db_constraint",
    "check_of_field_becomes_constraint",
    "constraint_becomes_unique_together",
    "index_of_field_becomes_one_of_meta",
    "index_of_meta_for_like_replaces_that_of_field",
    "move_model_with_its_table",
    "remove_check_constraint",
    "remove_index",
    "remove_index_on_expression",
    "remove_index_on_partitioned_table",
    "replace_check_constraint",
    "replace_check_constraint_by_index",
    "replace_check_constraint_by_unique",
    "replace_index",
    "replace_index_by_check_constraint",
    "replace_index_by_unique_constraint",
    "replace_index_of_partitioned_table",
    "replace_index_of_partitioned_table_by_unique_constraint",
    "unique_field_becomes_constraint",
    "unique_together_becomes_constraint",
]


# The rows that are made up have no counterparts, so migrate rightly stops before it changes anything.
PASSING = [case for case in CASES if ONE_IN == 1 and not case.counterparts]


@pytest.mark.parametrize("case", PASSING, ids=repr)
def test_ours_pass(project, case):
    write_case(project, case, "ours")
    _, found = rehearse(project)
    unexpected = [finding for finding in found["findings"] if not is_documented(case, finding)]
    assert unexpected == []


def is_documented(case: Case, finding: Any) -> bool:
    """The new release may find null in what the old one wrote, where nothing but a function says what belongs there."""
    is_null = finding["kind"] == "lost" and " is null in " in finding["message"]
    return is_null and bool(case.none_until_contract)


@pytest.mark.parametrize("case", [case for case in CASES if ONE_IN == 1 or case.name == "add_index"], ids=repr)
def test_a_stock_operation_that_breaks_a_release_is_named(project, case):
    write_case(project, case, "stock")
    status, found = rehearse(project)
    assert status == (case.name not in UNHARMED)
    assert bool(found["findings"]) == bool(status)
    assert all(finding["cause"] for finding in found["findings"])
