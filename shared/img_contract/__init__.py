"""What both containers share: the job, the store it lives in, the notifier and the configuration.

It imports neither Flask nor Pillow: img-rest and img-engine depend on it, never on each other.
"""
