"""Who may send, how many, how much."""
