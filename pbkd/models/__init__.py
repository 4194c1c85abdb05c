"""Networks: teacher, chain, partition, replacement, student, metrics, weights, export."""
