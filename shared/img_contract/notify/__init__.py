"""Notifications of new jobs over ZeroMQ."""
