"""Report text enters, statements about the entities of the vocabulary leave. Pure but for reading its own tables."""
