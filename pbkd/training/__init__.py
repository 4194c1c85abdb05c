"""Training: feeds, the distillation loop, relays, replicas, fine-tuning, checkpoints."""
