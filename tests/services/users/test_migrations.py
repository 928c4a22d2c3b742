"""Going back to the tables of an earlier version gives nobody more than before."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from services.users.store import MIGRATIONS
from tests.services.users.realm import Users, everywhere
from tests.services.users.test_codes import add_notes, code_of, redeem


def _back(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["carnet_connection"] = connection
    command.downgrade(config, "0002")


@everywhere
async def test_a_session_that_was_let_do_less_ends_where_that_cannot_be_kept(users: Users) -> None:
    """Without a scope of its own it could do all that its user may."""
    await users.sign_in()
    await add_notes(users)
    await redeem(users, await code_of(users))

    async with users.database.transaction() as work:
        await (await work.connection()).run_sync(_back)

    async with users.database.transaction() as work:
        sessions = (await work.execute(text("SELECT client_id FROM sessions"))).scalars().all()
        tokens = (await work.execute(text("SELECT count(*) FROM refresh_tokens"))).scalar_one()
    assert (sessions, tokens) == (["api-gateway"], 1)
