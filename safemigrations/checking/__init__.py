"""The rules in their order, and what the checks make of them."""
