"""What migrations, and the contract, are going to do to this database: said before the first statement."""
