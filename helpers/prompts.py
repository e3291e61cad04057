"""Prompt assembly: demonstrations in a given order, then the question, as one text.

A prompt style is a function `style(task, demonstrations, text, answer=None) -> str`: without an
answer it returns the text up to the place where the model answers, with one it returns the text
through that answer. `plain` is such a function and `chat(tokenizer)` makes one.
"""

from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from helpers.data import DataError, Example, Task

Style = Callable[..., str]


class PromptTooLong(ValueError):
    """The prompt does not fit the model's context; the message gives both lengths in tokens."""


def plain(
    task: Task, demonstrations: Sequence[Example], text: str, answer: str | None = None
) -> str:
    """Write the demonstrations one after the other in the task's template, then the question."""
    question, glue, _ = _question(task, text)
    written = "".join(
        _fill(task.template, example.text, task.word(example.label)) for example in demonstrations
    )
    return task.instruction + written + question + ("" if answer is None else glue + answer)


def chat(tokenizer: PreTrainedTokenizerBase) -> Style:
    """Make the style in which each demonstration is a user's turn and the assistant's answer.

    Raises `ValueError` when the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise ValueError("This model has no chat template: use the plain style.")

    def style(
        task: Task,
        demonstrations: Sequence[Example],
        text: str,
        answer: str | None = None,
    ) -> str:
        turns = (
            [{"role": "system", "content": task.instruction.strip()}] if task.instruction else []
        )
        for example in demonstrations:
            turns += _turn("user", _question(task, example.text)[0])
            turns += _turn("assistant", task.word(example.label))
        turns += _turn("user", _question(task, text)[0])
        written = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return written + (answer or "")

    return style


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _fill(template: str, text: str, word: str) -> str:
    # Not str.format: a customer may well write a brace.
    before, _, rest = template.partition("{text}")
    middle, _, after = rest.partition("{label}")
    return before + text + middle + word + after


def _question(task: Task, text: str) -> tuple[str, str, str]:
    """The template around the answer: the question, the white space before the answer, what
    follows it.

    Most tokenizers keep a space with the word after it, so the space belongs to the answer.
    """
    before, _, after = task.template.partition("{label}")
    question = before.rstrip()
    return question.replace("{text}", text), before[len(question) :], after


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The token ids of `prompt`, with the model's own start token where it uses one."""
    started = bool(tokenizer.bos_token) and prompt.startswith(
        tokenizer.bos_token
    )  # a chat template
    # Not verbose: our own `PromptTooLong` says better that a prompt is too long.
    return tokenizer(prompt, add_special_tokens=not started, verbose=False).input_ids


def count_tokens(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """The length of `prompt` in tokens."""
    return len(encode(tokenizer, prompt))


def fit(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    demonstrations: Sequence[Example],
    text: str,
    max_tokens: int,
    style: Style = plain,
) -> list[Example]:
    """Keep the last demonstrations, as many as fit with the question into `max_tokens` tokens.

    Raises `PromptTooLong` when not even the bare question fits.
    """

    def length(kept: int) -> int:
        return count_tokens(
            tokenizer, style(task, demonstrations[len(demonstrations) - kept :], text)
        )

    if length(0) > max_tokens:
        raise PromptTooLong(
            f"The question alone has {length(0):,} tokens, but only {max_tokens:,} fit: shorten "
            f"the text."
        )
    fits, too_many = 0, len(demonstrations) + 1
    while too_many - fits > 1:  # bisection: the length grows with every demonstration
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if length(middle) <= max_tokens else (fits, middle)
    return list(demonstrations[len(demonstrations) - fits :])


def nearest(pool: Sequence[Example], shots: int) -> Callable[[str], list[Example]]:
    """Make a chooser of the `shots` examples of `pool` most like a text, the nearest one last.

    Likeness is the cosine of TF-IDF vectors over character 2- to 4-grams, so that it also works on
    single words and misspellings (the idea: Liu et al. 2022, arXiv 2101.06804, there with sentence
    embeddings).

    Raises `DataError` when the pool holds fewer examples than `shots`.
    """
    if not 0 <= shots <= len(pool):
        raise DataError(
            f"The pool holds {len(pool)} examples, so {shots} cannot be chosen from it."
        )
    if not shots:
        return lambda text: []
    from sklearn.feature_extraction.text import TfidfVectorizer  # 25 MB, for who asks for it

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    known = vectorizer.fit_transform([example.text for example in pool])

    def choose(text: str) -> list[Example]:
        likeness = (known @ vectorizer.transform([text]).T).toarray().ravel()
        order = likeness.argsort(kind="stable")
        return [pool[i] for i in order[len(order) - shots :]]

    return choose
