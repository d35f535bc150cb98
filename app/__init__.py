"""Composition: commands, settings, the graph, jobs, migrations and the web role."""
