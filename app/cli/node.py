"""`run` and `migrate`: the node itself."""

import argparse
from typing import Any

from app.cli.common import add_config, settings_of
from app.migrate import migrate
from app.postgres import EmbeddedPostgres
from app.roles import ROLES, serve
from app.settings import Settings, child_environment
from app.supervise import Child, Supervisor, role_command
from operators.domain.errors import ConfigError


def add_to(commands: Any) -> None:
    """Add the commands to the command line."""
    run = commands.add_parser("run", help="serve: one process per role, supervised")
    run.add_argument("--roles", default=",".join(ROLES), help="comma-separated; one role serves in this process")
    run.set_defaults(run=_run)
    migrating = commands.add_parser("migrate", help="bring the database up to date")
    migrating.set_defaults(run=_migrate)
    for command in (run, migrating):
        add_config(command)


def _run(chosen: argparse.Namespace) -> int:
    roles = tuple(dict.fromkeys(role.strip() for role in chosen.roles.split(",") if role.strip()))
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise ConfigError(f"--roles takes {', '.join(ROLES)}")
    settings = settings_of(chosen)
    if len(roles) == 1 and settings.database_url:
        return serve(roles[0], settings)
    return _supervise(roles, settings, chosen.config)


def _supervise(roles: tuple[str, ...], settings: Settings, config: str | None) -> int:
    database = None if settings.database_url else EmbeddedPostgres(settings.node.state_dir / "postgres")
    url = settings.database_url if database is None else database.start()

    def environment_of(database_url: str) -> dict[str, str]:
        return {**child_environment(database_url), "HOLOSCAN_LOG_LEVEL": "ERROR"}

    supervisor = Supervisor(
        [Child(role=role, command=role_command(role, config), environment=environment_of(url)) for role in roles],
        database_url=url,
        keep_database=(lambda: url) if database is None else database.ensure_running,
        environment_of=environment_of,
    )
    try:
        return supervisor.run()
    finally:
        if database is not None:
            database.stop()


def _migrate(chosen: argparse.Namespace) -> int:
    settings = settings_of(chosen)
    if settings.database_url:
        return _report(migrate(settings.database_url))
    database = EmbeddedPostgres(settings.node.state_dir / "postgres")
    ran_before = database.is_alive()
    applied = migrate(database.start())
    if not ran_before:
        database.stop()
    return _report(applied)


def _report(applied: tuple[str, ...]) -> int:
    for name in applied:
        print(name)
    return 0
