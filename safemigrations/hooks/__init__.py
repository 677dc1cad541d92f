"""What Django calls instead of its own: autodetector, questioner, writer, executor."""
