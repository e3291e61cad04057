"""A prompt whose demonstrations are read once and kept, as a service keeps them."""

from collections.abc import Sequence

import numpy as np

from helpers.data import Example, Task
from helpers.model import LanguageModel
from helpers.packing import (
    Tree,
    common_length,
    encode_prefix,
    keep_prefix,
    packable,
    score_row,
    shared_length,
)
from helpers.prompts import Style, encode, plain
from helpers.scoring import answer_words, query_tree, require_length, score_labels_one_by_one


class Prompt:
    """Demonstrations that are read once and kept; queries are asked behind them as they come.

    What a service does that learns of its queries one by one. `tokens` are those that are kept.
    Raises `PromptTooLong` when the demonstrations leave no room for a query, `ValueError` for an
    open task.
    """

    def __init__(
        self,
        lm: LanguageModel,
        task: Task,
        demonstrations: Sequence[Example],
        style: Style = plain,
    ):
        if not task.labels:
            raise ValueError(f"Task {task.name!r} is open, it has no labels to score.")
        self.lm, self.task, self.style = lm, task, style
        self.demonstrations = list(demonstrations)
        any_two = [encode(lm.tokenizer, style(task, demonstrations, text)) for text in ("A", "0")]
        self.tokens = any_two[0][: shared_length(any_two)]
        require_length(lm, len(any_two[0]))
        self.packs = packable(lm.model)
        self.cache = encode_prefix(lm, self.tokens if self.packs else [])

    def score(self, query: str) -> np.ndarray:
        """Log-likelihood of each label's word as the answer, an array [labels] in nats.

        Raises `PromptTooLong` when the query with its label does not fit behind the demonstrations.
        """
        if not self.packs:
            shown = self.demonstrations, [query]
            return score_labels_one_by_one(self.lm, self.task, *shown, self.style)[0]
        tree = self._tree(query)
        kept = min(common_length([self.tokens, tree.trunk]), len(tree.trunk) - 1)
        self.tokens = self.tokens[:kept]  # a tokenizer may join the query's start to what is before
        keep_prefix(self.cache, kept)
        scores = score_row(self.lm, self.cache, kept, [Tree(tree.trunk[kept:], tree.branches)])
        keep_prefix(self.cache, kept)
        return scores[0]

    def _tree(self, query: str) -> Tree:
        """As `query_tree`, but the demonstrations are tokenised once, not for each label."""
        bare = query_tree(self.lm, self.task, [], query, answer_words(self.task), self.style)
        question, whole = (
            encode(self.lm.tokenizer, self.style(self.task, shown, query))
            for shown in ([], self.demonstrations)
        )
        trunk = whole[: len(whole) - (len(question) - len(bare.trunk))]
        require_length(self.lm, len(trunk) + max(map(len, bare.branches)))
        return Tree(trunk, bare.branches)
