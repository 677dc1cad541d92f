"""The findings in the forms that people, and the tools that they use, read."""
