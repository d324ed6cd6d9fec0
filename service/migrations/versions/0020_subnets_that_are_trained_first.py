"""Searches whose subnets are fine-tuned before they are measured"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("searches", sa.Column("train_dataset_id", sa.String(length=40), nullable=True))
    op.add_column(
        "searches", sa.Column("train_dataset_digest", sa.String(length=64), nullable=True)
    )
    op.create_index("ix_searches_train_dataset_id", "searches", ["train_dataset_id"])


def downgrade() -> None:
    op.drop_index("ix_searches_train_dataset_id", table_name="searches")
    for column in ("train_dataset_digest", "train_dataset_id"):
        op.drop_column("searches", column)
