"""The worker. Start reading at `pipeline` (what is done to a picture) and `worker` (how jobs are taken and ended)."""
