"""SQL that people write into migrations, read with PostgreSQL's own grammar."""
