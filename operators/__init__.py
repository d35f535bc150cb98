"""Stages of the comparative read, one folder each, in the order of the data: receive ... deliver and notify."""
