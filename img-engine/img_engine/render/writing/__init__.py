"""From finished frames to the bytes of a file."""
