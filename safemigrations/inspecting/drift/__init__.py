"""Drift: differences between what the migrations say and what the database has."""
