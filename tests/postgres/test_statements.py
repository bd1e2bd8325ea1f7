import asyncpg
import pytest

from coder.store import statements
from coder.store.database import apply_schema, prepare_connection


@pytest.mark.scenario("store: Every statement fits the schema")
async def test_every_statement_can_be_prepared_against_the_schema(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await prepare_connection(connection)
    for name, text in statements.all_statements().items():
        try:
            await connection.prepare(text)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{name}: {error}")
    await connection.close()


async def test_every_statement_says_what_it_is_for() -> None:
    assert all(text.startswith("-- ") for text in statements.all_statements().values())


@pytest.mark.scenario("store: The schema is applied twice")
async def test_the_schema_can_be_applied_to_a_database_that_has_it(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO projects (id, name, repo_path) VALUES ('p', 'n', '/r')")
    await apply_schema(connection)
    await apply_schema(connection)
    assert await connection.fetchval("SELECT count(*) FROM projects") == 1
    await connection.close()
