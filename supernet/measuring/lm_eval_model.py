"""A subnet as a model of lm-eval, the Language Model Evaluation Harness (Gao et al.; 0.4.13).

    from lm_eval import simple_evaluate
    from elasticnas.supernet.checkpoint.reader import read_supernet
    from elasticnas.supernet.measuring.lm_eval_model import SubnetLM

    supernet = read_supernet(folder).to(torch.device("cpu"), torch.float32)
    simple_evaluate(model=SubnetLM(supernet, supernet.space.heuristic), tasks=["arc_easy"])

Nothing is exported: log-likelihoods come of the passes that multiple choice is scored by, in which
choices share their context, and texts of the loop that generation is measured by. lm-eval is not
among ElasticNAS's own requirements: ``pip install 'elasticnas[worker,lm]'``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.measuring.decoding import Decoding
from elasticnas.supernet.measuring.encoder import TokenizerEncoder
from elasticnas.supernet.measuring.generation import (
    GenerationExamples,
    end_tokens,
    generation_examples,
    write_texts,
)
from elasticnas.supernet.measuring.trees import TreeBatch, TreeExamples
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks.items import Scored

MAX_NEW_TOKENS = 256
"""lm-eval's own default, where a task does not say."""
TOKEN_BUDGET = 2048
_NEW_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_SAYS_NOTHING = ("do_sample", "temperature", "top_p", "top_k", "until", *_NEW_TOKENS)

Request = tuple[Any, list[int], list[int]]
"""A request's own texts, and the token ids of its context and continuation."""


class SubnetLM(TemplateLM):  # type: ignore[misc]
    """One subnet of a super-network that writes texts.

    Args:
        max_length: the tokens of a sequence, by default as many as the model has positions for;
            what is longer loses its beginning, as in lm-eval's own models.
        token_budget: tokens that are run at once.
    """

    def __init__(
        self,
        supernet: Supernet,
        subnet: SubnetConfig,
        *,
        max_length: int | None = None,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        super().__init__()
        self.tokenizer = load_tokenizer(supernet)
        self.max_length = max_length or supernet.family.longest(supernet.config)
        self._encoder = TokenizerEncoder(self.tokenizer)
        self._supernet = supernet
        self._device = torch.device(supernet.model.device)
        self._token_budget = token_budget
        with torch.inference_mode():
            self._active = activate(supernet, subnet)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return end_tokens(self._supernet, self.tokenizer)[0]

    @property
    def prefix_token_id(self) -> int:
        """What stands before an empty context."""
        return self._encoder.begins_with

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval tells stored requests of different tokenizers apart by."""
        return str(self._supernet.folder)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Token ids, by default with what the tokenizer puts before a text."""
        add_bos = None if add_special_tokens is None or add_special_tokens else False
        return self._encoder([string], add_bos=add_bos)[0]

    def _loglikelihood_tokens(self, requests: list[Request], **_: Any) -> list[tuple[float, bool]]:
        """For each request the log-likelihood of its continuation, and whether greedy gives it."""
        grouped: dict[tuple[int, ...], list[int]] = {}
        for place, request in enumerate(requests):
            grouped.setdefault(tuple(request[1]), []).append(place)
        items = [
            tuple(self._scored(requests[place]) for place in places) for places in grouped.values()
        ]
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for places, scores in zip(grouped.values(), self._scores(items), strict=True):
            for place, score in zip(places, scores, strict=True):
                found[place] = score
        for request, score in zip(requests, found, strict=True):
            if request[0] is not None:
                self.cache_hook.add_partial("loglikelihood", request[0], score)
        return found

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """The log-likelihood of each whole text, in windows that do not overlap."""
        sums = []
        for (text,) in (request.args for request in requests):
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            pieces = [(None, *make_disjoint_window(window)) for window in windows]
            sums.append(sum(score for score, _ in self._loglikelihood_tokens(pieces)))
        return sums

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """The text behind each context, written greedily or by ``num_beams``.

        Raises:
            InputError: texts are to be drawn at random, or in a way that is not known.
        """
        alike: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(place)
        texts = [""] * len(requests)
        for said, places in alike.items():
            contexts = [requests[place].args[0] for place in places]
            written = self._written(contexts, json.loads(said))
            for place, text in zip(places, written, strict=True):
                texts[place] = text
                self.cache_hook.add_partial("generate_until", requests[place].args, text)
        return texts

    def _scored(self, request: Request) -> Scored:
        _, context, continuation = request
        tokens = (*context, *continuation)[-(self.max_length + 1) :]
        return Scored(tokens, len(tokens) - len(continuation))

    def _scores(self, items: list[tuple[Scored, ...]]) -> list[list[tuple[float, bool]]]:
        labels, pad_id = np.zeros(len(items), np.int64), int(self.tokenizer.pad_token_id or 0)
        examples = TreeExamples.of(items, labels, pad_id=pad_id, shares=True)
        longest = max(examples.length(row) for row in range(len(examples)))
        if not self._supernet.family.can_share_a_sequence(self._supernet.config, longest):
            examples = TreeExamples.of(items, labels, pad_id=pad_id, shares=False)
        scores: list[list[tuple[float, bool]]] = [[] for _ in items]
        with torch.inference_mode():
            for batch in examples.batches(self._token_budget):
                assert isinstance(batch, TreeBatch)
                sums, greedy = _likelihoods(self._active, batch.to(self._device))
                for place, row in enumerate(batch.rows.tolist()):
                    pairs = zip(sums[place].tolist(), greedy[place].tolist(), strict=True)
                    scores[row] = list(pairs)[: len(items[row])]
        return scores

    def _written(self, contexts: Sequence[str], said: dict[str, Any]) -> list[str]:
        decoding = _decoding(said, end_tokens(self._supernet, self.tokenizer))
        room = self.max_length - decoding.max_new_tokens
        if room < 1:
            raise InputError(
                f"texts of so many tokens leave none for a context within {self.max_length}",
                field="max_gen_toks",
                value=decoding.max_new_tokens,
            )
        prompts = [self.tok_encode(context)[-room:] for context in contexts]
        labels = np.zeros(len(prompts), np.int64)
        examples: GenerationExamples = generation_examples(
            prompts, labels, decoding, self.tokenizer, self._supernet
        )
        texts = [""] * len(prompts)
        with torch.inference_mode():
            for batch in examples.batches(self._token_budget):
                for row, text in zip(
                    batch.rows.tolist(),
                    write_texts(self._active, batch.to(self._device)),
                    strict=True,
                ):
                    texts[row] = text
        return texts


def _decoding(said: dict[str, Any], ends: tuple[int, ...]) -> Decoding:
    """How lm-eval wants texts written."""
    if said.get("do_sample") and said.get("temperature", 1.0) > 0:
        raise InputError(
            "texts are written greedily or by beams, never drawn at random",
            field="do_sample",
            value=said["do_sample"],
        )
    for name in said:
        if name not in (*_SAYS_NOTHING, "num_beams"):
            raise InputError("generation knows no such option", field=name, value=said[name])
    until = said.get("until") or []
    stop = [until] if isinstance(until, str) else until
    new_tokens = next((said[name] for name in _NEW_TOKENS if name in said), MAX_NEW_TOKENS)
    return Decoding(
        int(new_tokens), ends, tuple(text for text in stop if text), int(said.get("num_beams", 1))
    )


def _likelihoods(active: ActiveSubnet, batch: TreeBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of log-probabilities, and whether each token is the likeliest: (rows, sequences)."""
    logits = active.logits(batch.inputs, at=batch.at).float()
    foretold = batch.foretold[:, None]
    log_probabilities = logits.gather(1, foretold)[:, 0] - logits.logsumexp(dim=1)
    is_likeliest = logits.argmax(dim=1) == batch.foretold
    sums = torch.cat([log_probabilities, log_probabilities.new_zeros(1)])[batch.sums].sum(dim=-1)
    all_likeliest = torch.cat([is_likeliest, is_likeliest.new_ones(1)])[batch.sums].all(dim=-1)
    return sums, all_likeliest
