"""The growing picture: every lesson adds a part, and the colours of the ways stay the same."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from lessons import picture


def marks(lesson: int) -> int:
    figure = picture.draw(lesson)
    axis = figure.axes[0]
    count = len(axis.patches) + len(axis.texts)
    plt.close(figure)
    return count


def test_every_lesson_adds_a_part():
    counts = [marks(lesson) for lesson in range(len(picture.ADDED))]
    assert len(counts) == 11 and counts == sorted(set(counts))


@pytest.mark.parametrize(
    ("word", "colour"), [("prompt", picture.PROMPT), ("adapter", picture.WEIGHTS)]
)
def test_a_way_has_one_colour(word, colour):
    figure = picture.draw(10)
    (text,) = [text for text in figure.axes[0].texts if text.get_text() == word]
    assert to_hex(text.get_color()) == to_hex(colour)
    plt.close(figure)


def test_it_is_shown_with_its_sentence(capsys):
    picture.show(4)
    assert "5 of 11 parts; new: cache" in capsys.readouterr().out
    assert not plt.get_fignums()
