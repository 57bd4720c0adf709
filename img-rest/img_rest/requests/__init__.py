"""From an HTTP request to what was asked."""
