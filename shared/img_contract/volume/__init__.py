"""The default backend: jobs on a shared directory."""
