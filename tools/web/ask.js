// The course's model in the page. It is fetched, from beside the page, when the button is pressed.
const part = (name) => document.getElementById(`ask-${name}`);
const here = new URL("..", import.meta.url);  // the folder of the pages
let model = null;

function say(text) {
  part("state").textContent = text;
}

async function load() {
  part("load").disabled = true;
  say("Loading …");
  try {
    const { Wllama, LoggerWithoutDebug } = await import("./wllama/esm/index.min.js");
    const paths = { default: new URL("_static/wllama/esm/wasm/wllama.wasm", here).href };
    const loading = new Wllama(paths, { logger: LoggerWithoutDebug });
    const progress = ({ loaded, total }) => say(`Loading: ${Math.round((100 * loaded) / total)} %`);
    await loading.loadModelFromUrl(new URL("_static/model.gguf", here).href, {
      n_threads: 1, n_gpu_layers: 0, n_ctx: 2048, useCache: false, progressCallback: progress,
    });
    model = loading;
    say("The model is ready.");
    for (const name of ["next", "write"]) part(name).disabled = false;
  } catch (error) {
    part("load").disabled = false;
    say(`The model could not be loaded: ${error.message}`);
  }
}

// The likeliest next tokens, as bars; what they hold is put in as text.
async function next() {
  part("answer").textContent = "…";
  const asked = { prompt: part("text").value, max_tokens: 1, logprobs: 8, temperature: 0 };
  const answer = await model.createCompletion(asked);
  const table = document.createElement("table");
  for (const { token, logprob } of answer.choices[0].logprobs.content[0].top_logprobs) {
    const row = table.insertRow();
    const share = Math.exp(logprob);
    row.insertCell().textContent = JSON.stringify(token);
    row.insertCell().textContent = share.toFixed(3);
    const bar = row.insertCell().appendChild(document.createElement("div"));
    bar.style.cssText = `background: #0072b2; height: 1rem; width: ${(300 * share).toFixed(0)}px`;
  }
  part("answer").replaceChildren(table);
}

async function write() {
  part("answer").textContent = "…";
  const asked = { prompt: part("text").value, max_tokens: 24, stop: ["\n"], temperature: 0 };
  const answer = await model.createCompletion(asked);
  part("answer").textContent = part("text").value + answer.choices[0].text;
}

if (part("load")) {
  const choose = () => (part("text").value = part("example").value);
  choose();
  part("example").addEventListener("change", choose);
  part("load").addEventListener("click", load);
  part("next").addEventListener("click", next);
  part("write").addEventListener("click", write);
}
