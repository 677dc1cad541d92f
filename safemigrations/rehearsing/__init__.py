"""A rolling deploy of the project's own two releases, played on a scratch database."""
