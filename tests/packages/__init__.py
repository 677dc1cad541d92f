"""Public packages with many models, on databases that stock Django made of them. `tox -e packages` runs it."""
