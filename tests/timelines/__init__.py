"""What people notice of a change that is rolled out with Django alone and with safemigrations: measured, and drawn.

    python -m tests.timelines [page ...]

measures and writes docs/timelines/measured.json and a picture for each page of a change; about fifteen seconds a page.
"""
