"""Plugins: found, loaded, documented, scaffolded, and named where they fail."""
