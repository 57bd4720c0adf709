"""The HTTP API. It has no state of its own: it writes uploads to the store and answers from what is stored."""
