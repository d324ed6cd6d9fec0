"""The key of the conditions under which a search measures"""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0013"
branch_labels = None
depends_on = None

SEARCHES = sa.table(
    "searches",
    *(
        sa.column(name)
        for name in (
            "id",
            "supernet_digest",
            "dataset_digest",
            "task",
            "max_length",
            "verify_share",
            "precision",
            "conditions_key",
        )
    ),
)


def upgrade() -> None:
    op.add_column("searches", sa.Column("conditions_key", sa.String(64), nullable=True))
    connection = op.get_bind()
    # A search without a precision has not begun, or its results are in one that nobody knows.
    rows = connection.execute(sa.select(SEARCHES).where(SEARCHES.c.precision.is_not(None))).all()
    for row in rows:
        connection.execute(
            sa.update(SEARCHES).where(SEARCHES.c.id == row.id).values(conditions_key=_key(row))
        )
    op.drop_index("ix_searches_measurement", "searches")
    op.create_index("ix_searches_conditions_key", "searches", ["conditions_key"])


def downgrade() -> None:
    op.drop_index("ix_searches_conditions_key", "searches")
    op.drop_column("searches", "conditions_key")
    op.create_index(
        "ix_searches_measurement",
        "searches",
        ["supernet_digest", "dataset_digest", "task", "max_length"],
    )


def _key(row: sa.Row[Any]) -> str:
    """What `Conditions.key` was when this migration was written."""
    share = row.verify_share
    conditions = {
        "supernet": row.supernet_digest,
        "dataset": row.dataset_digest,
        "task": row.task,
        "settings": {},
        "max_length": row.max_length,
        "split": {"share": share, "part": "search"} if share else None,
        "precision": row.precision,
        "version": 1,
    }
    said = json.dumps(conditions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()
