"""What somebody who wants to see a value lost tries: one module for each group of promises.

Each attack is a line of a table. To try another one of the same kind, add a line.
"""
