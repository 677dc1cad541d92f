"""What a person asks of a database before and after: the plan with its impact, preflight, verify."""
