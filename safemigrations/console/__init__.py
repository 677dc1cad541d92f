"""What the world outside of migrations asks and is told: probes."""
