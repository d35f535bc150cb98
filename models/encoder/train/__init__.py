"""Training of the shipped encoder: a data folder enters, a bundle leaves. Needs requirements-train.txt."""
