"""The rules in their order, the readers of SQL and Python, and what the checks make of them."""
