"""An owner of every super-network, dataset and search; idempotency keys are per owner"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0009"
branch_labels = None
depends_on = None

OWNED = ("supernets", "datasets", "searches")


def upgrade() -> None:
    _require_that_no_reference_is_followed()
    for table in OWNED:
        # The default is for the rows of before, and for servers of before that are still running.
        op.add_column(
            table, sa.Column("owner", sa.String(100), nullable=False, server_default="default")
        )
        op.create_index(f"ix_{table}_owner_created_at_id", table, ["owner", "created_at", "id"])
    op.drop_index("ix_datasets_created_at_id", "datasets")
    op.drop_index("ix_searches_created_at_id", "searches")
    with op.batch_alter_table("searches") as searches:
        searches.drop_constraint("uq_searches_idempotency_key", type_="unique")
        searches.create_unique_constraint(
            "uq_searches_owner_idempotency_key", ["owner", "idempotency_key"]
        )


def downgrade() -> None:
    _require_that_no_reference_is_followed()
    with op.batch_alter_table("searches") as searches:
        searches.drop_constraint("uq_searches_owner_idempotency_key", type_="unique")
        searches.create_unique_constraint("uq_searches_idempotency_key", ["idempotency_key"])
    for table in OWNED:
        op.drop_index(f"ix_{table}_owner_created_at_id", table)
        op.drop_column(table, "owner")
    op.create_index("ix_datasets_created_at_id", "datasets", ["created_at", "id"])
    op.create_index("ix_searches_created_at_id", "searches", ["created_at", "id"])


def _require_that_no_reference_is_followed() -> None:
    """On SQLite the table of searches is copied: see `Database.migrate`."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    follows = connection.exec_driver_sql("PRAGMA foreign_keys").scalar()
    if follows and connection.exec_driver_sql("SELECT 1 FROM searches LIMIT 1").scalar():
        raise RuntimeError("this migration must be run by Database.migrate")
