"""What is around a migration, asked before its first statement: nothing is changed by the questions."""
