"""The three roles, each the main thread of a process of its own; all end in order on SIGTERM.

A role's module is imported in its own process only: the web role never loads the graph.
"""

from importlib import import_module

from app.settings import Settings

ROLES = ("receive", "work", "web")


def serve(role: str, settings: Settings) -> int:
    """Serve one role until a stop signal; return the exit code. Raises ConfigError, PrerequisiteMissingError."""
    import_module(f"app.roles.{role}").serve(settings)
    return 0
