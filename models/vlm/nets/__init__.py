"""MedReCo-VLM's nets in torch, their graphs, and the import of a published folder. Needs the training requirements."""
