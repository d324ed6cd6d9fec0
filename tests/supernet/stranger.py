"""A process that has stock libraries, and cannot import any package of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from elasticnas.supernet.supernet import Supernet
from tests.supernet.tiny import sentences

STRANGER = """
import importlib.abc, json, os, sys, traceback
import warnings; warnings.filterwarnings("ignore")

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "elasticnas":
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocker())
import torch
import transformers
from peft import PeftModel
from transformers import AutoTokenizer

def answer(folder, weights_format, auto_class, base, labels, texts, new_tokens):
    stock = getattr(transformers, auto_class)
    wide = {"dtype": torch.float32}
    if weights_format == "peft":
        if auto_class == "AutoModelForSequenceClassification":
            wide["num_labels"] = labels
        model = PeftModel.from_pretrained(stock.from_pretrained(base, **wide), folder)
    else:
        model = stock.from_pretrained(
            folder, trust_remote_code=weights_format == "transformers-with-code", **wide
        )
    if auto_class == "AutoModelForCausalLM":
        return {"class": type(model).__name__, **written(model.eval(), folder, texts, new_tokens)}
    coded = weights_format == "transformers-with-code"  # a config of its own brings code, too
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=coded)
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    if "type_vocab_size" not in model.config.to_dict() or model.config.model_type == "roberta":
        encoded.pop("token_type_ids", None)
    with torch.inference_mode():
        logits = model.eval()(**encoded).logits
    return {"class": type(model).__name__, "logits": logits.tolist()}

def written(model, folder, texts, new_tokens):
    how = {} if new_tokens is None else {"max_new_tokens": new_tokens}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    logits, greedy = [], []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits.append(model(input_ids=ids).logits[0].tolist())
            greedy.append(model.generate(input_ids=ids, do_sample=False, **how)[0].tolist())
    return {"logits": logits, "greedy": greedy}

for question in sys.stdin:
    if not (child := os.fork()):  # so that no folder meets what another one has loaded
        try:
            found = answer(*json.loads(question))
        except BaseException:
            found = {"error": traceback.format_exc()}
        print("answer:", json.dumps(found), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("answer:", json.dumps({"error": "the process died"}), flush=True)
"""
"""Asked about folders, a line each; each is loaded in a process of its own."""


class Stranger:
    """Loads exported folders, as somebody would who has never heard of this project."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", STRANGER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def load(
        self,
        folder: Path,
        weights_format: str,
        supernet: Supernet,
        texts: list[str] | None = None,
        new_tokens: int | None = None,
    ) -> dict[str, Any]:
        """The class of the model that a folder holds, and its logits for ``texts``.

        A language model's for each token, and the ids that it goes on with, greedily: as many new
        ones as its own generation config says where ``new_tokens`` does not.
        """
        base, labels = str(supernet.folder / "base"), supernet.num_labels
        auto_class = supernet.task_head.auto_class
        question: list[Any] = [
            str(folder),
            weights_format,
            auto_class,
            base,
            labels,
            texts or sentences(6),
        ]
        question.append(new_tokens)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        said = next(line for line in self._process.stdout if line.startswith("answer: "))
        answer: dict[str, Any] = json.loads(said.removeprefix("answer: "))
        assert "error" not in answer, answer["error"]
        return answer

    def close(self) -> None:
        """Let it go home."""
        self._process.communicate()
        assert self._process.returncode == 0
