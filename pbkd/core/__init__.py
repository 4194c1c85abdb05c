"""Domain types (blocks, schedules, results, events), files, processes, seeds and devices."""
