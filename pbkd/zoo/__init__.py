"""The model zoo: stored teachers and students, with their weights, cards and recipes."""
