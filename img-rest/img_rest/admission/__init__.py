"""Whether a request is admitted: keys and rates, uploads under way, the queue and free space."""
