"""The HTTP API. It holds no state: it writes uploads to the store, and answers from what is there."""
