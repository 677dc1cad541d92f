"""Questions to PostgreSQL, and the spelling of names. Knows no Django model."""
