"""A training, too, is queued once however often its request is sent"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("idempotency_key", sa.String(255), nullable=True))
    op.add_column("jobs", sa.Column("idempotency_digest", sa.String(64), nullable=True))
    op.create_index(
        "uq_jobs_owner_idempotency_key", "jobs", ["owner", "idempotency_key"], unique=True
    )


def downgrade() -> None:
    op.drop_index("uq_jobs_owner_idempotency_key", "jobs")
    op.drop_column("jobs", "idempotency_digest")
    op.drop_column("jobs", "idempotency_key")
