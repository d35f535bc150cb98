"""The commands of `python -m app`, one module a family."""
