"""Discovery, creation, documentation and scaffolding of plugins."""
