"""Workers: processes, machines, jobs."""
