"""What the world outside of migrations asks and is told: probes, and pages of Django's admin."""
