"""Which of Django's tests fail in a project that has the app, and why they have to."""

from __future__ import annotations

ASKS = "With --noinput a rename can't be told from a removal and an addition, which would lose values: it stops."
COMMENT = "An empty migration says in a comment how Backfill is written."
GROUPS = "Queries group by all columns, so that they work through the view of a renamed table (docs/rename_model.md)."
NOW = "auto_now and auto_now_add need no answer: the rows get the time of the migration."
OURS = "makemigrations writes an operation of ours."
HEADER = "The header says that the file was written with safemigrations."
TWO_FILES = "--update stops where one file would need a transaction and operations that must run outside of one."
CHOICE = "The question has one choice more: to compute the value for each row."
STARTS = "Before the first migration it asks whether a way back has stopped half way."

AGGREGATION = "aggregation_regress.tests.AggregationTests"
COMMANDS = "migrations.test_commands.MakeMigrationsTests.test_makemigrations"

EXPECTED = {
    f"{AGGREGATION}.test_aggregate_duplicate_columns": GROUPS,
    f"{AGGREGATION}.test_aggregate_duplicate_columns_only": GROUPS,
    f"{AGGREGATION}.test_aggregate_duplicate_columns_select_related": GROUPS,
    f"{AGGREGATION}.test_aggregate_unmanaged_model_columns": GROUPS,
    "backends.base.test_creation.TestDbCreationTests.test_migrate_test_setting_false_ensure_schema": STARTS,
    f"{COMMANDS}_auto_now_add_interactive": NOW,
    f"{COMMANDS}_dry_run_verbosity_3": OURS,
    f"{COMMANDS}_empty_migration": COMMENT,
    f"{COMMANDS}_interactive_not_null_alteration": CHOICE,
    f"{COMMANDS}_interactive_unique_callable_default_addition": NOW,
    f"{COMMANDS}_non_interactive_auto_now_add_addition": NOW,
    f"{COMMANDS}_non_interactive_no_field_rename": ASKS,
    f"{COMMANDS}_non_interactive_no_model_rename": ASKS,
    f"{COMMANDS}_update": TWO_FILES,
    f"{COMMANDS}_update_custom_name": TWO_FILES,
    f"{COMMANDS}_update_manual_porting": TWO_FILES,
    f"{COMMANDS}_with_custom_name": COMMENT,
    "migrations.test_executor.ExecutorTests.test_migrate_skips_schema_creation": STARTS,
    "migrations.test_executor.ExecutorUnitTests.test_backwards_nothing_to_do": STARTS,
    "migrations.test_writer.WriterTests.test_migration_file_header_comments": HEADER,
}
