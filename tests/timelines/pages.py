"""Which pages have a picture, and which case of tests/cases.py most of them show."""

BUCKET = 0.05  # seconds that a letter of what was measured stands for

CASE_OF = {
    "add_check_constraint": "add_check_constraint",
    "add_field": "add_field_nullable_foreign_key",
    "add_field_nullable_then_backfill": "add_field_python",
    "add_field_with_default": "add_field",
    "add_index": "add_index",
    "add_unique_constraint": "add_unique_constraint",
    "alter_field": "alter_field_unique",
    "alter_field_type": "alter_field_bigger",
    "alter_model_table": "alter_model_table",
    "alter_order_with_respect_to": "order_with_respect_to",
    "alter_unique_together": "add_unique_together",
    "delete_model": "delete_model",
    "drop_default": "drop_default",
    "remove_constraint": "remove_unique_constraint",
    "remove_field": "remove_field_foreign_key",
    "remove_index": "remove_index",
    "rename_field": "rename_field",
    "rename_model": "rename_model",
    "set_not_null": "set_not_null",
}
# Those that show what no case has: a model in two apps, or many rows (tests/timelines/plays.py).
OTHERS = ("add_exclusion_constraint", "backfill", "move_model")
PAGES = sorted((*CASE_OF, *OTHERS))
SIDES = {"django": "Django alone", "safemigrations": "with safemigrations"}
