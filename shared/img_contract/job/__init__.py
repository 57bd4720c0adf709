"""The job, pure models: what is asked, what came of it, and how both are written."""
