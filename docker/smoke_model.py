"""What `docker/smoke` does inside the image, in a container of its own without a network.

``make`` writes a tar to stdout: a small super-network with random weights (a BERT whose heads and
feed-forward layers can be cut) and labelled sentences. ``measure`` reads a tar of a downloaded
subnet and the same sentences from stdin, and prints the accuracy that stock transformers finds.
Nothing of ElasticNAS is imported.
"""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
import tempfile
from pathlib import Path

WORDS = [
    *("the", "a", "film", "plot", "actor", "scene", "story", "music", "is", "was", "and", "but"),
    *("not", "very", "good", "bad", "dull", "bright", "slow", "funny", "sad", "great"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LAYERS, HIDDEN, HEADS, FFN = 4, 128, 4, 512
ROWS, LONGEST = 1000, 24


def make() -> None:
    """Write a tar with ``checkpoint.tar.gz`` and ``rows.jsonl`` to stdout."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(SPECIAL) + len(WORDS),
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=FFN,
            max_position_embeddings=64,
            num_labels=2,
            pad_token_id=0,
        )
    ).eval()
    with torch.no_grad():  # large enough that subnets differ
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "checkpoint")
        model.save_pretrained(folder / "base")
        tokenizer = _tokenizer()
        tokenizer.save_pretrained(folder / "base")
        dimensions = [
            {"name": f"layer.{layer}.{part}", "kind": kind, "choices": choices}
            for layer in range(LAYERS)
            for part, kind, choices in (
                ("attention.heads", "heads", [4, 3, 2, 1]),
                ("ffn.width", "width", [512, 384, 256, 128]),
            )
        ]
        (folder / "search_space.json").write_text(
            json.dumps({"dimensions": dimensions}), encoding="utf-8"
        )
        with tarfile.open(Path(name, "checkpoint.tar.gz"), "w:gz") as archive:
            archive.add(folder, "checkpoint")
        chance = random.Random(0)
        sentences = [
            " ".join(chance.choices(WORDS, k=chance.randint(4, LONGEST - 2))) for _ in range(ROWS)
        ]
        labels = [
            label if chance.random() > 0.1 else 1 - label
            for label in _predictions(model, tokenizer, sentences)
        ]
        rows = "".join(
            json.dumps({"sentence": sentence, "label": label}) + "\n"
            for sentence, label in zip(sentences, labels, strict=True)
        )
        Path(name, "rows.jsonl").write_text(rows, encoding="utf-8")
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as out:
            for file in ("checkpoint.tar.gz", "rows.jsonl"):
                out.add(Path(name, file), file)


def measure() -> None:
    """Print the accuracy of the subnet in the tar that stdin has."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as tar:
            tar.extractall(name, filter="data")
        (folder,) = (path.parent for path in Path(name, "subnet").rglob("config.json"))
        rows = [
            json.loads(line)
            for line in Path(name, "rows.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
        found = _predictions(
            model.eval(),
            AutoTokenizer.from_pretrained(folder),
            [row["sentence"] for row in rows],
        )
    print(sum(a == row["label"] for a, row in zip(found, rows, strict=True)) / len(rows))


def _tokenizer():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _predictions(model, tokenizer, sentences):  # type: ignore[no-untyped-def]
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(sentences), 50):
            batch = tokenizer(sentences[start : start + 50], padding=True, return_tensors="pt")
            found += model(**batch).logits.argmax(-1).tolist()
    return found


if __name__ == "__main__":
    {"make": make, "measure": measure}[sys.argv[1]]()
