"""What people ask about a database: the plan with its impact before a run, preflight, and verify afterwards."""
