"""What a user installs: the wheel, in environments that know nothing of this checkout. `tox -e package` runs it."""
