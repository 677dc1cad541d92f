"""What happens while schema changes are made, as values: whoever shows, logs or counts it hears the same."""
