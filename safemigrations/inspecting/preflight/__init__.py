"""Questions about the surroundings of a migration, asked before its first statement; they change nothing."""
