"""What migrations, and the contract, are going to do to this database, told before the first statement."""
