"""The routes, their documentation, and what they answer."""
