"""Three questions at the end of a lesson, each option with why it is right or wrong.

The questions stand in `data/quizzes.jsonl`. What was chosen last is kept on this machine, for the
page of lesson 10; nothing is counted and nothing is sent anywhere.
"""

from html import escape

import ipywidgets as w

from helpers import claims
from helpers.data import load_rows
from helpers.widgets import Panel


def questions(lesson: int) -> list[dict]:
    """The lesson's questions, each with its options: `text`, `right` and `why`."""
    return [row for row in load_rows("quizzes") if row["lesson"] == lesson]


def show(lesson: int) -> Panel:
    """The questions with buttons; choosing an option says at once why it is right or wrong."""
    asked = questions(lesson)
    sentence = f"{len(asked)} questions to try yourself with, in a live notebook."
    return Panel([part for row in asked for part in _parts(row)], sentence)


def recall(question: str, was: str) -> None:
    """Print what was guessed (by `widgets.predict`), beside what was so."""
    said = claims.predictions().get(question)
    print(f"You said: {said}." if said else "You made no guess.", f"It was: {was}.")


def _parts(row: dict) -> list[w.Widget]:
    options = {option["text"]: option for option in row["options"]}
    buttons = w.RadioButtons(options=list(options), value=None, layout={"width": "auto"})
    answer = w.HTML()

    def tell(change) -> None:
        option = options[change["new"]]
        claims.keep("answers.json", row["question"], change["new"])
        mark = "Right." if option["right"] else "No."
        answer.value = f"<p><b>{mark}</b> {escape(option['why'])}</p>"

    buttons.observe(tell, names="value")
    return [w.HTML(f"<b>{escape(row['question'])}</b>"), buttons, answer]
