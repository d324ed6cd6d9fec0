"""Races: hits, rivals, and evaluations that were given up"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "searches", sa.Column("given_up", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("searches", sa.Column("pilots", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("evaluations", sa.Column("hits", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("evaluations", sa.Column("rival", sa.Integer(), nullable=True))
    op.add_column("evaluations", sa.Column("given_up", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for column in ("given_up", "rival", "hits"):
        op.drop_column("evaluations", column)
    for column in ("pilots", "given_up"):
        op.drop_column("searches", column)
