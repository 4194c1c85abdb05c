"""The zoo: teachers and students with their weights, cards and recipes."""
