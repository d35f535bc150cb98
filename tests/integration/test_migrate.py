"""Migrations on a real PostgreSQL: fresh, repeated, upgraded with data in place, refused."""

from importlib import metadata
from importlib.resources import files

import psycopg
import pytest

from app.migrate import Migration, migrate, migrations
from operators.domain.errors import ConfigError


def test_a_fresh_database_gets_every_migration_once(empty_database_url: str) -> None:
    wanted = [migration.name for migration in migrations()]
    assert list(migrate(empty_database_url)) == wanted
    assert migrate(empty_database_url) == ()


def test_an_upgrade_keeps_the_data_in_place(empty_database_url: str) -> None:
    first, *rest = migrations()
    migrate(empty_database_url, (first,))
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("INSERT INTO studies (study_uid, patient_id) VALUES ('1.2', 'P1')")
        connection.execute("INSERT INTO revisions (study_uid, revision, state) VALUES ('1.2', 1, 'assembling')")
    assert len(migrate(empty_database_url)) == len(rest)
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("SELECT patient_id, state FROM studies JOIN revisions USING (study_uid)").fetchone()
    assert row == ("P1", "assembling")


def test_a_changed_migration_is_refused_by_name(empty_database_url: str) -> None:
    first, *rest = migrations()
    migrate(empty_database_url, (first,))
    changed = Migration(number=1, name=first.name, sql=first.sql + "\n-- another line")
    with pytest.raises(ConfigError, match=first.name):
        migrate(empty_database_url, (changed, *rest))


def test_a_database_of_a_newer_program_is_refused(empty_database_url: str) -> None:
    newer = Migration(number=len(migrations()) + 1, name="9999_future", sql="SELECT 1")
    migrate(empty_database_url, (*migrations(), newer))
    with pytest.raises(ConfigError, match="does not know"):
        migrate(empty_database_url)


def test_a_failing_migration_leaves_nothing_behind(empty_database_url: str) -> None:
    broken = Migration(number=1, name="0001_broken", sql="CREATE TABLE half (a int); SELECT * FROM missing")
    with pytest.raises(psycopg.errors.UndefinedTable):
        migrate(empty_database_url, (broken,))
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("SELECT to_regclass('half')").fetchone()
    assert row == (None,)


def test_the_queue_schema_is_the_installed_versions_own() -> None:
    version = metadata.version("procrastinate").replace(".", "_")
    ours = next(migration for migration in migrations() if "procrastinate" in migration.name)
    assert ours.name.endswith(version)
    theirs = (files("procrastinate.sql") / "schema.sql").read_text(encoding="utf-8")
    assert ours.sql.split("\n", 1)[1] == theirs
