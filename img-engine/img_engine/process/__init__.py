"""The child processes: their limits and their lifetime."""
