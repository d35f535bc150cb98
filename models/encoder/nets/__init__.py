"""Torch definitions of the encoders. Needs requirements-train.txt; serving never imports this package."""
