"""The part that both services share: the job, the ports, the volume, the notifier and the configuration.

It imports neither Flask nor Pillow: img-rest and img-engine depend on it, never on each other.
"""
