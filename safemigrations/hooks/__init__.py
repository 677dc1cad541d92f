"""What Django uses in place of its own autodetector, questioner, writer and executor."""
