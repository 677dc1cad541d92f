"""Zero-downtime migrations for Django on PostgreSQL."""

__version__ = "0.1.0"
