"""Granian, the socket, and the way from RSGI to WSGI."""
