"""Heads are seen and silenced, states are read and put in, an adapter is switched off in places."""

import re
from operator import eq

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import compare, finetune, model, plots
from helpers.compare import bits, right
from helpers.data import Example, Task, load_task
from helpers.prompts import encode, plain
from helpers.teaching import Taught
from lessons import facts, heads, states
from lessons import l09_inside as inside

TASK = Task("opposites", "{text} -> {label}\n", (), ())
EXAMPLES = [Example("hot", "cold"), Example("up", "down"), Example("cold", "hot")]
WAYS = "prompt", "weights"
TEXTS = ["hot -> cold", "a cold hot cold hot line"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture(params=["llama", "gpt2", "qwen2"])
def each(request, tiny_models):
    return tiny_models[request.param]


def refused(work, *told):
    """`work` raises a ValueError of one sentence that tells all this."""
    with pytest.raises(ValueError, match=re.escape(told[0])) as caught:
        work()
    assert all(part in str(caught.value) for part in told)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def rows(lm, texts=TEXTS):
    return [encode(lm.tokenizer, text) for text in texts]


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def outputs(lm, tokens):
    """What the heads of each layer give at each token, [layers, tokens, heads, size]."""
    seen = []

    def watch(_):
        return lambda module, inputs: seen.append(inputs[0][0].unflatten(-1, (4, 8)))

    with heads.hooks(heads.projections(lm), watch):
        states.scores(lm, [tokens])
    return torch.stack(seen)


# Heads


def test_found_heads_are_told_by_layer():
    found = inside.InductionHeads(np.zeros((3, 4)), [(2, 1), (1, 0), (2, 3)], torch.zeros(1))
    assert str(found) == "3 of 12 heads are induction heads: 1 in layer 1, 2 in layer 2."


def test_every_architecture_shows_its_layers_heads_and_projections(each):
    assert len(heads.layers(each)) == len(heads.projections(each)) == 3
    assert heads.heads(each) == [(layer, head) for layer in range(3) for head in range(4)]


def test_a_model_without_attention_says_so(make_tiny):
    mamba = make_tiny("mamba", attention="eager")
    refused(lambda: heads.projections(mamba), "mamba cannot be looked into", "o_proj")
    refused(lambda: heads.attention(mamba, [1, 2]), "mamba cannot be looked into")


def test_a_model_with_an_adapter_has_the_same_heads(tiny):
    tuned = finetune.with_adapter(tiny, rank=2, seed=0)
    assert heads.heads(tuned) == heads.heads(tiny)
    tokens = rows(tiny)[0]
    np.testing.assert_allclose(
        heads.attention(tuned, tokens), heads.attention(tiny, tokens), atol=1e-5
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_ablated_head_is_a_projection_without_its_slice(make_tiny, kind):
    lm, chosen = make_tiny(kind), [(0, 1), (2, 3), (2, 0)]
    prompts = rows(lm)
    with heads.ablated(lm, chosen):
        silenced = states.scores(lm, prompts)
    assert not torch.allclose(silenced, states.scores(lm, prompts), atol=1e-2)
    with torch.no_grad():
        for layer, head in chosen:
            weight = heads.projections(lm)[layer].weight
            weight = weight.T if kind == "gpt2" else weight  # gpt2 keeps it turned round
            weight[:, 8 * head : 8 * (head + 1)] = 0
    close(silenced, states.scores(lm, prompts))


def test_a_mean_stands_in_for_one_head_and_leaves_the_others(tiny):
    means, tokens = torch.randn(3, 4, 8), rows(tiny)[0]
    intact = outputs(tiny, tokens)[1]
    with heads.ablated(tiny, [(1, 2)], means):
        changed = outputs(tiny, tokens)[1]
    assert torch.equal(changed[:, 2], means[1, 2].expand(len(tokens), 8))
    torch.testing.assert_close(changed[:, [0, 1, 3]], intact[:, [0, 1, 3]])


def test_hooks_are_taken_off_also_after_an_error(tiny):
    before = states.scores(tiny, rows(tiny))
    with pytest.raises(RuntimeError, match="on purpose"), heads.ablated(tiny, heads.heads(tiny)):
        raise RuntimeError("on purpose")
    with pytest.raises(AttributeError), heads.hooks([*heads.layers(tiny), None], lambda i: print):
        pass  # the second place takes no hook, so the first must lose its own
    assert not any(part._forward_pre_hooks for part in tiny.model.modules())
    assert torch.equal(before, states.scores(tiny, rows(tiny)))


def test_a_head_that_is_not_there_is_refused(tiny):
    for head in ((3, 0), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match="has no head"), heads.ablated(tiny, [head]):
            pass


def test_the_mean_outputs_leave_the_first_token_out_and_weigh_every_other_alike(tiny):
    told = torch.cat([outputs(tiny, tokens)[:, 1:] for tokens in rows(tiny)], 1)
    torch.testing.assert_close(heads.mean_outputs(tiny, TEXTS), told.mean(1), atol=1e-5, rtol=1e-5)


def test_attention_looks_back_only_and_sums_to_one(each):
    tokens = rows(each)[1]
    seen = heads.attention(each, tokens)
    assert seen.shape == (3, 4, len(tokens), len(tokens))
    np.testing.assert_allclose(seen.sum(-1), 1, atol=1e-5)
    assert np.triu(seen, 1).max() == 0
    assert each.model.config._attn_implementation == "sdpa"


def test_attention_is_put_back_also_after_an_error(tiny):
    def weights():
        return model.checksum(tiny.model), [id(weight) for weight in tiny.model.parameters()]

    before = weights()
    with pytest.raises(IndexError):
        heads.attention(tiny, [10**6])  # no such token
    assert tiny.model.config._attn_implementation == "sdpa"
    assert weights() == before


def test_random_tokens_come_twice_and_hold_nothing_special(tiny):
    sequences = heads.repeated(tiny, 3, half=10, seed=1)
    assert sequences.shape == (3, 20) and (sequences[:, :10] == sequences[:, 10:]).all()
    assert not np.isin(sequences, tiny.tokenizer.all_special_ids).any()
    assert all(len(set(row)) == 10 for row in sequences)
    assert (sequences == heads.repeated(tiny, 3, half=10, seed=1)).all()
    assert (sequences != heads.repeated(tiny, 3, half=10, seed=2)).any()


def test_a_perfect_induction_head_scores_one_and_its_neighbours_nothing():
    copy, after, second = (np.eye(10, k=offset - 5) for offset in (0, 1, 2))  # of 5 tokens, twice
    assert heads.induction_score(after) == 1
    assert heads.induction_score(copy) == heads.induction_score(second) == 0
    both = np.stack([(after + copy) / 2, after])
    np.testing.assert_allclose(heads.induction_score(both), [0.5, 1])


def test_the_strongest_come_first_and_the_others_are_not_among_them():
    scores = np.array([[0.1, 0.9, 0.3, 0.0], [0.2, 0.0, 0.0, 0.4], [0.0, 0.0, 0.1, 0.1]])
    chosen = heads.strongest(scores, 0.3)
    assert chosen == [(0, 1), (1, 3), (0, 2)]
    for seed in range(20):
        anywhere, same = (heads.others(scores, chosen, seed, by) for by in (False, True))
        assert not set(chosen) & {*anywhere, *same}
        assert len(set(anywhere)) == len(set(same)) == 3
        assert sorted(layer for layer, _ in same) == [0, 0, 1]
    assert len({tuple(heads.others(scores, chosen, seed, False)) for seed in range(20)}) > 5
    many = [(0, head) for head in range(3)]
    refused(lambda: heads.others(scores, many, 0, by_layer=True), "Too few heads")


def test_losses_and_hits_are_the_models_own(tiny):
    sequence = np.array([rows(tiny)[1]])
    losses, right = heads.continues(tiny, sequence)
    with torch.inference_mode():
        told = tiny.model(torch.tensor(sequence)).logits[0].log_softmax(-1)
    after = sequence[0, 1:]
    np.testing.assert_allclose(losses[0], -told[range(len(after)), after], atol=1e-4)
    assert (right[0] == (told[:-1].argmax(-1).numpy() == after)).all()


def test_the_token_that_begins_the_repetition_is_in_neither_half():
    first, second = heads.halves(np.arange(1, 8)[None])  # of 4 tokens twice, the first not told
    assert first.tolist() == [[1, 2, 3]] and second.tolist() == [[5, 6, 7]]


# States


def test_prompt_and_first_token_are_those_of_the_whole_text(tiny):
    prompts, answers = states.ask(tiny, TASK, EXAMPLES[:2], EXAMPLES[1:])
    for prompt, answer, example in zip(prompts, answers, EXAMPLES[1:], strict=True):
        whole = encode(tiny.tokenizer, plain(TASK, EXAMPLES[:2], example.text, example.label))
        assert [*prompt, answer] == whole[: len(prompt) + 1]
        assert tiny.tokenizer.decode(prompt).endswith("->")


def test_a_start_is_put_before_demonstrations_and_question():
    task = states.with_start("antonyms")
    assert plain(task, [], "hot") == "\nhot ->" and task.train == load_task("antonyms").train


def test_groups_of_one_length_hold_every_prompt_once():
    groups = list(states.same_length([[1], [1, 2], [3], [1, 2, 3]]))
    assert groups == [[0, 2], [1], [3]]


def test_the_lens_ends_with_what_the_model_says(each):
    prompts = rows(each)
    told = states.read_out(each, states.states(each, prompts))
    assert told.shape[:2] == (2, 4)
    close(told[:, -1], states.scores(each, prompts))
    assert not torch.allclose(told[:, 0], told[:, -1], atol=1e-2)


def test_the_first_state_is_the_embedding(tiny):
    prompt = rows(tiny)[0]
    embedded = tiny.model.get_input_embeddings()(torch.tensor(prompt[-1]))
    torch.testing.assert_close(states.states(tiny, [prompt])[0, 0], embedded)


def test_through_the_lens_an_answer_has_its_chance_and_its_place(tiny):
    prompts, answers = states.ask(tiny, TASK, EXAMPLES[:1], EXAMPLES[1:])
    chances, places = states.through_lens(tiny, prompts, answers)
    told = states.scores(tiny, prompts).numpy()
    for i, answer in enumerate(answers):
        assert chances[i, -1] == pytest.approx(told[i, answer], abs=1e-4)
        assert places[i, -1] == (told[i] > told[i, answer]).sum()
    assert chances.shape == places.shape == (2, 4)


def test_a_head_that_scales_cannot_be_read_through_the_lens(make_tiny):
    granite = make_tiny("granite", logits_scaling=8.0)
    refused(lambda: states.through_lens(granite, rows(granite), [1, 2]), "granite cannot be looked")


def test_the_own_state_put_back_changes_nothing_and_anothers_takes_over(each):
    prompt, others = rows(each)[:1], rows(each)[1:]
    before = states.scores(each, prompt)
    for layer, state in enumerate(states.states(each, prompt)[0]):
        with states.put_in(each, layer, state):
            close(states.scores(each, prompt), before)
    (last,) = states.states(each, others)[:, 3]
    with states.put_in(each, 3, last):  # behind the last layer nothing else is read
        close(states.scores(each, prompt), states.scores(each, others))
    assert torch.equal(before, states.scores(each, prompt))


def test_a_task_vector_is_the_mean_of_the_asked(tiny):
    shown, asked = EXAMPLES[:1], EXAMPLES[1:]
    prompts, _ = states.ask(tiny, TASK, shown, asked)
    mean = states.states(tiny, prompts).mean(0)
    torch.testing.assert_close(states.task_vector(tiny, TASK, shown, asked), mean)


# An adapter, layer by layer


@pytest.fixture
def tuned(tiny):
    tuned = finetune.with_adapter(tiny, rank=2, seed=0)
    with torch.no_grad():
        for name, weight in tuned.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    return tuned


def test_an_adapter_that_is_off_in_all_layers_leaves_the_base(tiny, tuned):
    before = states.scores(tuned, rows(tiny))
    assert not torch.allclose(before, states.scores(tiny, rows(tiny)), atol=1e-2)
    with inside.adapter_off(tuned, range(3)):
        close(states.scores(tuned, rows(tiny)), states.scores(tiny, rows(tiny)))
    with pytest.raises(RuntimeError, match="on purpose"), inside.adapter_off(tuned, [1]):
        raise RuntimeError("on purpose")
    assert torch.equal(states.scores(tuned, rows(tiny)), before)


def test_an_adapter_that_is_off_in_one_layer_changes_no_state_before_it(tiny, tuned):
    before = states.states(tuned, rows(tiny))
    with inside.adapter_off(tuned, [1]):
        after = states.states(tuned, rows(tiny))
    assert torch.equal(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2], atol=1e-3)


def test_thirds_are_off_alone_and_on_alone(tiny):
    parts = inside.thirds(tiny)
    assert list(parts.values()) == [[], [0, 1, 2], [0], [1], [2], [1, 2], [0, 2], [0, 1]]
    assert list(parts)[3::3] == ["in layers 1 to 1", "but in layers 1 to 1"]


def test_what_a_head_looks_at_is_told_with_its_places(tiny, capsys):
    inside.tell_attention(tiny, "hot is", [(1, 2)])
    text, told = capsys.readouterr().out.splitlines()
    tokens = encode(tiny.tokenizer, "hot is")
    shares = heads.attention(tiny, tokens)[1, 2, -1]
    at = int(shares.argmax())
    assert text == "hot is" and told.startswith("   layer 1, head 2: ")
    assert f"{tiny.tokenizer.decode(tokens[at])!r}@{at} {shares[at]:.2f}" in told


def test_the_lens_table_has_the_likeliest_token_and_the_answers_place(tiny):
    token = encode(tiny.tokenizer, " cold")[0]
    log_p = torch.zeros(len(tiny.tokenizer))
    log_p[token], log_p[token + 1] = 1, 2
    table = inside.likeliest(tiny.tokenizer, {"0 shots": {2: log_p, 5: -log_p}}, "cold")
    assert table["0 shots", "place of cold"].to_dict() == {2: 2, 5: len(log_p) - 1}
    assert table["0 shots", "likeliest"][2] == repr(tiny.tokenizer.decode(token + 1))


def test_prompts_alike_have_one_length_and_other_questions(lm):
    verbs = states.with_start("past_tense")
    rows = inside.alike(lm, verbs, verbs.draw(2, 0), count=3)
    assert rows.shape[0] == 3 and len({tuple(row) for row in rows.tolist()}) == 3
    assert f"{verbs.held_out[1].text} ->" in lm.tokenizer.decode(rows[0])
    assert verbs.held_out[0].text not in lm.tokenizer.decode(rows.flatten())


def test_sizes_are_those_of_text_cache_and_adapter(tiny, tuned, capsys):
    shown = [Example("hot is", "cold")]
    tokens = len(encode(tiny.tokenizer, "hot is cold\n"))
    assert inside.tell_sizes(tiny, tuned, shown) == 4 * 2 * 3 * 2 * 8 * tokens
    assert capsys.readouterr().out.startswith("1 facts take 12 bytes as text")


# The stored results


def test_the_findings_of_a_run_follow_what_it_saw():
    found = inside.findings(False, 5.3e6, pd.DataFrame({"relative": [0.0, 0.03]}))
    assert found["I1"][0].startswith("base unchanged: False; 5.3 MB")
    assert found["F1"][0] == "2 matrices moved by 0.0 to 3.0 %"


def test_the_figures_take_title_and_sentence_from_their_numbers(monkeypatch):
    drawn, shown = [], []
    monkeypatch.setattr(plots, "whiskers", lambda *given, **more: drawn.append(given))
    monkeypatch.setattr(plots, "show", lambda *given: shown.append(given))
    kept = compare.stored("ablation")
    inside.show_lost(kept)
    ((lost, title, sentence),) = drawn
    fetched, stays = (inside.lost(kept, f"facts, {w}", inside.INDUCTIVE) for w in WAYS)
    assert f"facts in the prompt change by {fetched.mean:+.2f}" in title
    assert title.endswith(f"facts in the weights by {stays.mean:+.2f}")
    assert list(lost[""]) == [f"without {way}" for way in inside.SHOWN_LOST[1:]]
    share = right(kept, measure="facts, prompt", way=inside.INDUCTIVE).mean()
    assert f"{share:.2f}" in sentence and "a guess gets 0.25." in sentence
    inside.show_states(compare.stored("lens"), compare.stored("vectors"))
    ((figure, told),) = shown
    (axis,) = figure.axes
    lines = axis.get_legend_handles_labels()[1]
    assert lines[1:] == ["carried in: antonyms", "carried in: the other tasks"]
    layer = inside.chosen_layer(compare.stored("vectors"))
    assert told.startswith(f"After {layer} layers") and f"(layer {layer})," in figure.get_suptitle()


def test_a_finding_says_what_its_number_compares():
    found = inside.findings(True, 5.3e6, pd.DataFrame({"relative": [0.002, 0.014]}))
    kept = compare.stored("ablation")
    rivals = inside.lost(kept, "facts, prompt", inside.INDUCTIVE, inside.SAME_LAYERS)
    assert f"minus rivals off: {rivals:+.2f}" in found["I2"][0]
    stays = inside.lost(kept, "facts, weights", inside.INDUCTIVE, inside.SAME_LAYERS)
    words = "no answer differs" if stays.low == stays.high else f"{stays:+.2f}"
    assert f"minus rivals off: facts in the prompt {rivals:+.2f}" in found["C2"][0]
    assert found["C2"][0].endswith(f"in the weights {words}")
    assert f"untaught: {inside.learned(kept, 'weights'):+.2f}" in found["F2"][0]
    # Where no answer differs, words say so.
    assert "+0.00 (+0.00 to +0.00)" not in found["C2"][0]


def test_past_tenses_are_told_apart_from_verbs_that_are_repeated(tiny, monkeypatch):
    task, said = states.with_start("past_tense"), []
    asked = task.held_out[inside.ITEMS : 2 * inside.ITEMS]
    for i, verb in enumerate(asked):  # of each draw, half are put in the past, a quarter repeated
        word = verb.label if i % 2 else verb.text if i % 4 else "and"
        said.append(encode(tiny.tokenizer, f" {word}")[0])
    scores = torch.nn.functional.one_hot(torch.tensor(said * 2), max(said) + 1)
    monkeypatch.setattr(states, "scores", lambda lm, prompts: scores[: len(prompts)])
    firsts = {name: [encode(tiny.tokenizer, f" {getattr(v, name)}")[0] for v in asked] * 2
              for name in ("label", "text")}  # fmt: skip
    counts = inside.past_tenses(tiny, task)
    assert list(counts) == ["past tenses, of 40", "the verb itself, of 40"]
    assert list(counts.values()) == [sum(map(eq, said * 2, first)) for first in firsts.values()]
    assert next(iter(counts.values())) >= 20


def test_the_ways_of_ablation_take_as_many_heads_and_never_the_same():
    scores = np.zeros((3, 4))
    found = inside.InductionHeads(scores, [(1, 0), (1, 1)], torch.zeros(3, 4, 8))
    assert inside.without(found, inside.INTACT, 0) == []
    assert inside.without(found, inside.INDUCTIVE, 0) == found.chosen
    assert len(inside.without(found, inside.ANYWHERE, 0)) == 2
    assert sorted(inside.without(found, inside.SAME_LAYERS, 0)) == [(1, 2), (1, 3)]


def test_invented_words_stand_for_two_categories():
    task = inside.invented()
    assert len(task.labels) == 2 and not set(map(task.word, task.labels)) & set(task.labels)
    assert {example.label for example in task.train} == set(task.labels)


def test_a_draw_of_the_ablation_asks_the_same_in_every_way(make_tiny, monkeypatch):
    wide = make_tiny("llama", max_position_embeddings=2048)
    found = inside.InductionHeads(np.zeros((3, 4)), [(0, 0), (1, 2)], torch.zeros(3, 4, 8))
    taught = Taught(facts.WEIGHTS, finetune.with_adapter(wide, 2, 0), facts.TASK, [])
    monkeypatch.setattr(inside, "find", lambda lm: found)
    monkeypatch.setattr(facts, "teach", lambda *given: taught)
    for name, value in {"ITEMS": 2, "FACTS": 4, "ENGLISH": slice(0, 1)}.items():
        monkeypatch.setattr(inside, name, value)
    plan = inside.ablation_study(wide, 1)
    table = pd.DataFrame(plan.work(**plan.cells[0]))
    asked = {way: list(rows["measure"]) for way, rows in table.groupby("way")}
    assert asked[inside.INTACT][2:] == asked[inside.INDUCTIVE] == asked[inside.ANYWHERE]
    assert asked[inside.INTACT][:2] == ["facts, untaught", "facts, untaught, written"]
    everything = {*inside.SKILLS, inside.INVENTED, "facts, prompt", "facts, weights"}
    assert everything <= set(table.measure)
    losses = table[table.measure == "plain English"].set_index("way")["value"]
    assert losses.nunique() == 4  # other heads, another loss
    assert right(table.assign(draw=0), measure="antonyms", way=inside.INTACT).shape == (1, 2)


def test_the_layer_is_chosen_on_draws_of_their_own(tiny, monkeypatch):
    best, asked = 2, []

    def fake(lm, task, some, name, vector=None, layer=-1):
        asked.append((task, name, layer, tuple(some)))
        return {"way": name, "layer": layer, "value": float(layer == best), "right": "1"}

    monkeypatch.setattr(inside, "carried", fake)
    for name, value in {"TASKS": ("antonyms", "plurals"), "ITEMS": 2, "SHOTS": 1}.items():
        monkeypatch.setattr(inside, name, value)
    plan = inside.vectors_study(tiny, 2)
    assert [cell["draw"] for cell in plan.cells] == [100, 100, 101, 101, 0, 0, 1, 1]
    assert [row["layer"] for row in plan.work(draw=100, task="plurals")] == [0, 2]
    asked.clear()
    rows = plan.work(draw=0, task="antonyms")
    assert [row["way"] for row in rows] == list(inside.VECTORS)
    assert [row["layer"] for row in rows] == [best, best, -1, -1]
    held_out = load_task("antonyms").held_out
    chosen = [some for task, name, layer, some in asked if layer in (0, 2)][:-2]
    assert chosen and not any(set(some) & set(held_out) for some in chosen)
    assert set(asked[-1][3]) <= set(held_out)


def test_carried_puts_the_vector_in(tiny, monkeypatch):
    monkeypatch.setattr(states, "with_start", lambda name: TASK)
    prompts, answers = states.ask(tiny, TASK, [], EXAMPLES[:2])

    def likeliest():
        return states.scores(tiny, prompts).argmax(1).tolist()

    bare = inside.carried(tiny, "any", EXAMPLES[:2], "zero-shot")
    assert bare["right"] == bits(map(eq, likeliest(), answers))
    # A state whose read-out is the first answer makes that answer the likeliest everywhere, but is
    # so small that it would not before a layer, whose own part outweighs it.
    vector = tiny.model.get_output_embeddings().weight[answers[0]].detach().expand(4, -1) / 50
    row = inside.carried(tiny, "any", EXAMPLES[:2], "vector", vector, 3)
    with states.put_in(tiny, 3, vector[3]):
        forced = likeliest()
    assert len(set(forced)) == 1  # the state alone decides
    assert row["layer"] == 3 and row["right"] == bits(map(eq, forced, answers))


def test_the_lens_is_asked_once_without_demonstrations(tiny, monkeypatch):
    monkeypatch.setattr(inside, "ITEMS", 2)
    plan = inside.lens_study(tiny, 3)
    bare = [cell for cell in plan.cells if cell["shots"] == 0]
    assert len(bare) == len(inside.TASKS) and len(plan.cells) == 4 * len(bare)
    rows = plan.work(**bare[0])
    assert [row["layer"] for row in rows] == [0, 1, 2, 3]
    assert all(len(row["right"]) == 2 for row in rows)


def stored(columns: str, *lines) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=columns.split())


def test_what_is_lost_is_paired_by_draw_and_question():
    # The rows of one way stand in another order: draws are matched by their number.
    table = stored("way draw right", (inside.INTACT, 0, "1111"), (inside.INTACT, 1, "1100"),
                   ("less", 1, "1000"), ("less", 0, "1100")).assign(measure="antonyms")  # fmt: skip
    middle, low, high = inside.lost(table, "antonyms", "less")
    assert middle == pytest.approx(-3 / 8) and low <= middle <= high <= 0
    assert inside.lost(table, "antonyms", inside.INTACT) == (0, 0, 0)


def test_what_is_learned_is_paired_and_asked_with_all_heads_at_work():
    table = stored("measure draw right", ("facts, prompt", 0, "11"), ("facts, prompt", 1, "10"),
                   ("facts, untaught", 0, "10"), ("facts, untaught", 1, "00"))  # fmt: skip
    without = table.assign(way=inside.INDUCTIVE, right="00")
    both = pd.concat([table.assign(way=inside.INTACT), without])
    assert inside.learned(both, "prompt")[0] == 0.5


def test_the_chosen_layer_is_the_one_that_the_other_draws_carry_at():
    table = stored("draw way layer", (100, inside.OWN, 0), (100, inside.OWN, 2), (0, inside.OWN, 2),
                   (1, inside.OWN, 2), (1, inside.UNTAUGHT, -1))  # fmt: skip
    assert inside.chosen_layer(table) == 2


def test_first_places_are_told_by_layer_for_all_tasks_together():
    draw = stored(
        "task shots layer right",
        ("antonyms", 8, 0, "0001"),
        ("antonyms", 8, 1, "0111"),
        ("antonyms", 0, 0, "1111"),
        ("plurals", 8, 0, "0111"),
        ("plurals", 8, 1, "1111"),
    )
    found = inside.in_first_place(pd.concat([draw.assign(draw=0), draw.assign(draw=1)]), 8, [0, 1])
    assert [found[layer][0] for layer in (0, 1)] == [0.5, 0.875]


def test_the_draws_that_chose_the_layer_do_not_count():
    draws = stored("draw right", (100, "1111"), (0, "0001"), (1, "0011"))
    draws = draws.assign(task="antonyms", layer=2)
    found = inside.reached(pd.concat(draws.assign(way=name) for name in inside.VECTORS))
    assert [found[name]["antonyms"][0] for name in inside.VECTORS] == [0.375] * 4


# The exercises' checks

PHRASES = [
    ((None, "time"), "Not attempted yet"),
    (("Once upon a", "time"), "Right: 'time' is in first place from "),
    (("Thank you very", " much "), "Not yet: 'much' is in first place from "),
    (("Once upon a", "kettle"), "Not yet: the model itself says ' time'"),
]
PAIRS = [("France", "French"), ("Spain", "Spanish"), ("Japan", "Japanese"), ("Poland", "Polish")]
ASKED = [("Italy", "Italian"), ("Russia", "Russian"), ("China", "Chinese")]
ASKED += [("Portugal", "Portuguese"), ("Denmark", "Danish"), ("Finland", "Finnish")]


@pytest.mark.parametrize(("given", "told"), PHRASES)
def test_an_early_answer_is_in_first_place_for_good(lm, capsys, given, told):
    inside.check_early_answer(lm, *given)
    assert capsys.readouterr().out.startswith(told)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((None, ASKED, 21), "Not attempted yet"),
        ((PAIRS, PAIRS + ASKED, 21), "Not yet: a question stands among the pairs"),
        ((PAIRS, ASKED[:5], 21), "Not yet: give at least four pairs and six questions"),
        ((PAIRS, ASKED, 30), "Not yet: choose a layer from 0 to 29"),
        ((PAIRS, ASKED, 2), "Not yet: 0.00 right with your state"),
        ((PAIRS, ASKED, 21), "Right: "),
    ],
)
def test_an_own_task_is_carried_by_one_state(lm, capsys, given, told):
    inside.check_own_vector(inside.carry, lm, *given)
    assert capsys.readouterr().out.startswith(told)
