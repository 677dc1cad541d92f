"""What PostgreSQL is asked, and how it spells names. Knows no Django model."""
