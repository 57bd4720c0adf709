"""The routes, their documentation and their answers."""
