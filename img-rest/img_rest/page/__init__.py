"""The page for people, at /app: its files as they are, without a build step, and the route that serves them."""
