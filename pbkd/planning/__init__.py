"""Planning: costs, schedules, predicted seconds, budgets."""
