"""The events of everything of an owner; results in the order in which they were recorded"""

import sqlalchemy as sa
from alembic import op

from elasticnas.service.database import UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

RECORDED = "ix_evaluations_search_id_sequence"


def upgrade() -> None:
    op.create_index(RECORDED, "evaluations", ["search_id", "sequence"])
    op.create_table(
        "owner_event_counts",
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_owner_event_counts")),
    )
    op.create_table(
        "owner_events",
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "number", name=op.f("pk_owner_events")),
    )


def downgrade() -> None:
    op.drop_table("owner_events")
    op.drop_table("owner_event_counts")
    op.drop_index(RECORDED, "evaluations")
