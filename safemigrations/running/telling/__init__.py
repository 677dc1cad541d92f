"""What a run shows at a terminal or in a log."""
