"""The server: from granian's RSGI to WSGI, and its process."""
