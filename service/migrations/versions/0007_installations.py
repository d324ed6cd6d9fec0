"""The id of the installation, and marks on blobs that nothing refers to"""

import uuid

import sqlalchemy as sa
from alembic import op

from elasticnas.service.database import UtcDateTime

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    installation = op.create_table(
        "installation",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("next_token", sa.String(32), nullable=True),
        sa.Column("turn_until", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_installation"),
    )
    op.bulk_insert(
        installation,
        [{"key": 1, "id": f"installation-{uuid.uuid4().hex[:20]}", "token": uuid.uuid4().hex}],
    )
    op.create_table(
        "orphans",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("marked_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_orphans"),
    )


def downgrade() -> None:
    op.drop_table("orphans")
    op.drop_table("installation")
