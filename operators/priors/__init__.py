"""The priors stage."""
