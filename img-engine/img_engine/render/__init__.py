"""Rendering as a library: a file in, files out; it knows no store, no process and no configuration."""
