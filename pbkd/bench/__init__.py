"""Benchmarks of the training procedures, behind `pbkd bench`."""
