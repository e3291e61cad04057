// Brings the quizzes and the explorers of the web edition to life. No kernel, no network.
"use strict";

function answer(event) {
  const option = event.target;
  const right = option.dataset.right === "True";
  const status = option.closest("fieldset").querySelector("[role=status]");
  status.textContent = (right ? "Right. " : "No. ") + option.dataset.why;
}

function start(box, number) {
  const stored = JSON.parse(box.querySelector("script").textContent);
  const controls = box.querySelector(".controls");
  const lists = stored.names.map((name, place) => {
    const label = document.createElement("label");
    const list = document.createElement("select");
    list.id = `explorer-${number}-${place}`;
    label.htmlFor = list.id;
    label.textContent = name;
    controls.append(label, list);
    list.addEventListener("change", () => draw(box, stored, lists, place + 1));
    return list;
  });
  draw(box, stored, lists, 0);
}

// Fill the lists from the given place on, keep a choice where it still exists, show the view.
function draw(box, stored, lists, from) {
  const chosen = lists.slice(0, from).map((list) => list.value);
  for (const list of lists.slice(from)) {
    const choices = stored.choices[JSON.stringify(chosen)];
    const before = list.value;
    list.replaceChildren(...choices.map((choice) => new Option(choice, choice)));
    list.value = choices.includes(before) ? before : first(stored, chosen, choices);
    list.disabled = choices.length < 2;
    chosen.push(list.value);
  }
  box.querySelector(".view").innerHTML = stored.views[JSON.stringify(chosen)] ?? "";
}

// The choice that the lesson begins with, where it is one of these.
function first(stored, chosen, choices) {
  const begin = stored.start[chosen.length];
  return choices.includes(begin) ? begin : choices[0];
}

document.addEventListener("DOMContentLoaded", () => {
  const state = document.getElementById("ask-state");
  if (state && location.protocol === "file:") {
    state.textContent =
      "A browser loads the model only through a server: start python -m http.server in this folder.";
    document.getElementById("ask-load").disabled = true;
  }
  // The theme names these buttons otherwise than they read, which speech control cannot follow.
  const misnamed = "button.search-button-field, summary[aria-label='Toggle hidden content']";
  document.querySelectorAll(misnamed).forEach((part) => part.removeAttribute("aria-label"));
  document.querySelectorAll("fieldset.quiz input").forEach((option) => {
    option.addEventListener("change", answer);
  });
  document.querySelectorAll(".explorer").forEach(start);
});
