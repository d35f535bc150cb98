"""The server's configuration files as text: values in, text out."""

import hashlib
from pathlib import Path

ROLE = "interval"
DATABASE = "interval"

HBA = """\
# Passwords over loopback TCP, nothing else.
host  all  all  127.0.0.1/32  scram-sha-256
"""

# Durability is never traded. Everything else suits a small machine that serves one node.
_SETTINGS: dict[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "recovery_init_sync_method": "syncfs",
    # Segments are recycled, not created, while a study arrives; checkpoints are rare and spread out.
    "min_wal_size": "256MB",
    "max_wal_size": "1GB",
    "wal_buffers": "8MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_parallel_workers_per_gather": "2",
    "random_page_cost": "1.1",
    "jit": "off",
    # The work of a client that was killed ends, and lets its locks go.
    "client_connection_check_interval": "2s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # No statement, no parameter and no DETAIL line: they would carry patients' data into the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    "log_statement": "none",
    "log_line_prefix": "%m [%p] ",
}


def cluster_name(data_dir: Path) -> str:
    """Return the name in the titles of this cluster's processes, by which they are found again."""
    return "interval-" + hashlib.sha256(bytes(data_dir)).hexdigest()[:12]


def server_settings(*, port: int, data_dir: Path, shared_memory: str) -> str:
    """Return postgresql.conf. `shared_memory`: the kind for parallel work, `posix` or `mmap`."""
    settings = _SETTINGS | {
        "port": str(port),
        "cluster_name": cluster_name(data_dir),
        "dynamic_shared_memory_type": shared_memory,
    }
    return "".join(f"{name} = '{value}'\n" for name, value in settings.items())
