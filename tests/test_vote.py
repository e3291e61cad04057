"""The vote in the class room counts hands."""

from lessons import vote


def test_hands_are_counted_and_taken_back():
    panel = vote.tally("Which <way>?", ["prompt", "weights"])
    assert "&lt;way&gt;" in panel.children[0].value and "No hands" in panel.children[-1].value
    (more, less), (other, _) = (row.children for row in panel.children[1:3])
    for button in (more, more, more, less, other):
        button.click()
    view = panel.children[-1].value
    assert "prompt (2)" in view and "weights (1)" in view
    for _ in range(5):
        less.click()
    assert "prompt (0)" in panel.children[-1].value
