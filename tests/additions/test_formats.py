"""A format of one's own, in one file, keeps the contract like those that come with ElasticNAS."""

from __future__ import annotations

import json
from pathlib import Path

from elasticnas.supernet.contracts.checkpoints import FFN, write_checkpoint
from elasticnas.supernet.contracts.formats import FormatContract
from tests.additions.family_seed_oss import SEED_OSS
from tests.additions.format_matformer import FILE, MATFORMER


class TestMatFormer(FormatContract):
    format = MATFORMER

    def write(self, folder: Path) -> None:
        """A decoder whose FFNs have one of three widths each."""
        write_checkpoint(folder, SEED_OSS, adapted=False)
        (folder / "search_space.json").unlink()
        (folder / FILE).write_text(json.dumps({"ffn_widths": [FFN, 24, 7]}), encoding="utf-8")
