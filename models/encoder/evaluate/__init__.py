"""Evaluation of a bundle as it is served: a data folder and an engine enter; figures with intervals leave."""
