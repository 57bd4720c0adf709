"""Writing results: from rendered frames to the bytes of a file."""
