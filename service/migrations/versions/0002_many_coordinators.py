"""Searches that one of many coordinators drives, reports of workers, and events"""

import sqlalchemy as sa
from alembic import op

from elasticnas.service import database

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "coordinators",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coordinators")),
    )
    op.create_table(
        "search_events",
        sa.Column("search_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["search_id"],
            ["searches.id"],
            name=op.f("fk_search_events_search_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("search_id", "number", name=op.f("pk_search_events")),
    )
    op.add_column(
        "workers",
        sa.Column(
            "evaluating", sa.JSON(none_as_null=True), nullable=False, server_default=sa.text("'[]'")
        ),
    )
    op.add_column("evaluations", sa.Column("report", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("evaluations", sa.Column("sent_generation", sa.String(length=100), nullable=True))
    op.add_column("searches", sa.Column("coordinator_id", sa.String(length=40), nullable=True))
    for counter in ("revision", "last_event", "recorded"):
        op.add_column(
            "searches", sa.Column(counter, sa.Integer(), nullable=False, server_default="0")
        )
    op.execute("UPDATE searches SET recorded = completed + failed")
    op.create_index("ix_searches_coordinator_id", "searches", ["coordinator_id"])


def downgrade() -> None:
    op.drop_index("ix_searches_coordinator_id", table_name="searches")
    for column in ("recorded", "last_event", "revision", "coordinator_id"):
        op.drop_column("searches", column)
    op.drop_column("evaluations", "sent_generation")
    op.drop_column("evaluations", "report")
    op.drop_column("workers", "evaluating")
    op.drop_table("search_events")
    op.drop_table("coordinators")
