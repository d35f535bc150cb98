"""Rooms of the seam: messages on the edges, ids, error tree, clock."""
