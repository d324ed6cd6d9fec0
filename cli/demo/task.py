"""A real text classification task from text that every install has.

Which library does this sentence come from? The sentences are those of the docstrings in the
source files of five installed libraries. Sentences that name a library, or use a word of its own
name, are left out. A source file lies wholly in the training or wholly in the validation data, and
no sentence stands in both.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from elasticnas.api_schemas.problems import InputError

LIBRARIES = ("matplotlib", "scipy", "sklearn", "sqlalchemy", "torch")

_TELL_TALE = re.compile(
    r"matplotlib|mpl|pyplot|scipy|sklearn|scikit|sqlalchemy|\bsql\b|torch|tensor", re.IGNORECASE
)
_MARKUP = re.compile(r":\w+(?::\w+)?:`~?\.?([^`<]*?)(?:\s*<[^>]*>)?`|`{1,2}([^`]*)`{1,2}|\*{1,2}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9 ,;:'\"()/_.-]*[.!?]")
WORDS = range(6, 31)
VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class DocstringTask:
    """The two files, and how many rows each has."""

    train: Path
    validation: Path
    train_rows: int
    validation_rows: int


def write_task(folder: Path, *, train_rows: int, validation_rows: int) -> DocstringTask:
    """Write ``train.jsonl`` and ``validation.jsonl``: ``{"sentence": ..., "library": ...}``.

    Both are balanced over the libraries. The same installed versions give the same files.

    Raises:
        InputError: a library is not installed, or has too few sentences.
    """
    totals = {"train": train_rows, "validation": validation_rows}
    rows: dict[str, list[dict[str, str]]] = {part: [] for part in totals}
    seen: set[str] = set()
    for library in LIBRARIES:
        wanted = {part: total // len(LIBRARIES) for part, total in totals.items()}
        for part, sentences in _collect(library, wanted, seen).items():
            if len(sentences) < wanted[part]:
                raise InputError(
                    f"the docstrings of {library} hold only {len(sentences)} usable sentences",
                    field=f"{part}_rows",
                    value=totals[part],
                )
            chosen = random.Random(f"{part}/{library}").sample(sentences, wanted[part])
            rows[part] += [{"sentence": sentence, "library": library} for sentence in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for part, content in rows.items():
        random.Random(part).shuffle(content)
        paths[part] = folder / f"{part}.jsonl"
        paths[part].write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return DocstringTask(
        paths["train"], paths["validation"], len(rows["train"]), len(rows["validation"])
    )


def _collect(library: str, wanted: dict[str, int], seen: set[str]) -> dict[str, list[str]]:
    """Sentences of a library that are not in ``seen``, by part: twice what is wanted, if it has it.

    Source files are taken in the order of a digest of their names, which also decides which part a
    file belongs to: as good as random, and the same on every machine.
    """
    spec = find_spec(library)
    if spec is None or spec.origin is None:
        raise InputError("the library is not installed", field="library", value=library)
    root = Path(spec.origin).parent
    digests = {
        path: hashlib.sha256(f"{library}/{path.relative_to(root).as_posix()}".encode()).digest()
        for path in root.rglob("*.py")
        if "tests" not in path.parts
    }
    found: dict[str, list[str]] = {part: [] for part in wanted}
    for path in sorted(digests, key=digests.__getitem__):
        part = "validation" if digests[path][-1] < 256 * VALIDATION_SHARE else "train"
        if len(found[part]) >= 2 * wanted[part]:
            continue
        for docstring in _docstrings(path):
            for sentence in _plain_sentences(docstring):
                key = sentence.casefold()
                if key not in seen:
                    seen.add(key)
                    found[part].append(sentence)
    return found


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def _plain_sentences(docstring: str) -> Iterator[str]:
    """Whole sentences of prose: no lists, no code, nothing that names a library."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        if any(
            line.startswith((" ", ">", "-", "*", ".", "|", "=")) for line in paragraph.splitlines()
        ):
            continue
        text = _MARKUP.sub(lambda m: m[1] or m[2] or "", " ".join(paragraph.split()))
        for sentence in _SENTENCE.split(text):
            if (
                _PLAIN.fullmatch(sentence)
                and len(sentence.split()) in WORDS
                and not _TELL_TALE.search(sentence)
            ):
                yield sentence
