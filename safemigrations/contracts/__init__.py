"""What waits until the old release has gone."""
