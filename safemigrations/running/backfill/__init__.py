"""Filling existing rows in batches."""
