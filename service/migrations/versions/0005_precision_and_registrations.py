"""The precision of what was measured; registrations that go on; verification tried again"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("searches", "evaluations", "workers"):
        op.add_column(table, sa.Column("precision", sa.String(length=16), nullable=True))
    op.add_column("workers", sa.Column("precisions", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "evaluations", sa.Column("verify_attempt", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column("supernets", sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True))
    for table in ("supernets", "exports"):
        op.add_column(table, sa.Column("sent_generation", sa.String(length=100), nullable=True))
    op.execute("UPDATE supernets SET state = 'failed' WHERE state = 'rejected'")


def downgrade() -> None:
    op.execute("DELETE FROM supernets WHERE state <> 'ready'")
    for table in ("exports", "supernets"):
        op.drop_column(table, "sent_generation")
    op.drop_column("supernets", "sent_at")
    op.drop_column("evaluations", "verify_attempt")
    op.drop_column("workers", "precisions")
    for table in ("workers", "evaluations", "searches"):
        op.drop_column(table, "precision")
