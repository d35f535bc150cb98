"""A state folder in, the URL of a running PostgreSQL with pgvector out: the embedded database of one machine.

For demo, tests and single-machine trials; production sets DATABASE_URL and never comes here.
"""

from app.postgres.cluster import EmbeddedPostgres
from app.postgres.postmaster import current_url

__all__ = ["EmbeddedPostgres", "current_url"]
