// The page around the classifier: what is typed goes to worker.js, and what it answers is drawn here.

const container = document.querySelector("[data-classifier]");
const base = new URL(container.dataset.classifier, document.baseURI);
const parts = {};
let settings, worker, request = 0;

/** Return a new element, with attributes and children. Texts are only ever set as text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const percent = (value, digits = 0) => `${(100 * value).toFixed(digits)}%`;
const points = (value) => {
  const rounded = Math.round(Math.abs(100 * value));
  return rounded ? `${value < 0 ? "−" : "+"}${rounded}` : "0";
};

function build() {
  const text = element("textarea", { id: "classifier-text", rows: 3, dir: "auto" });
  const examples = element("p", {});
  for (const example of settings.examples) {
    const button = element("button", { type: "button" }, example);
    button.addEventListener("click", () => {
      text.value = example;
      ask(example);
    });
    examples.append(button);
  }
  const form = element(
    "form", {},
    element("label", { for: "classifier-text" }, "Your text"), text,
    element("button", { type: "submit" }, "Classify"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(text.value);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask(text.value);
    }
  });
  parts.status = element("p", { role: "status", class: "note" });
  parts.progress = element("progress", { max: 1, value: 0, "aria-label": "Loading", hidden: "" });
  parts.result = element("div", {});
  const size = Math.round(settings.bytes / 1e6);
  parts.status.textContent = `The first answer loads ${size} MB. Your text stays in this browser.`;
  const tries = settings.examples.length ? [element("p", { class: "note" }, "Or try one of these:"), examples] : [];
  const limits = element("p", { class: "note" }, settings.limits);
  container.replaceChildren(form, ...tries, parts.progress, parts.status, parts.result, limits);
}

function ask(text) {
  parts.result.replaceChildren();
  parts.status.classList.remove("spoken");
  request += 1; // what is still being computed for an earlier text is not shown any more
  if (!text.trim()) {
    parts.status.textContent = "Please type a text first.";
    worker?.postMessage({ request });
    return;
  }
  parts.status.textContent = worker ? "Reading the text …" : "Loading the model …";
  worker ??= start();
  worker.postMessage({ request, text });
}

function start() {
  const made = new Worker(new URL("worker.js", base), { type: "module" });
  made.addEventListener("error", (event) => fail(event.message || "worker.js could not be loaded"));
  made.addEventListener("message", ({ data }) => {
    if (data.loaded !== undefined) {
      parts.progress.hidden = data.loaded >= 1;
      parts.progress.value = data.loaded;
    } else if (data.failed) {
      fail(data.failed);
    } else if (data.request === request) {
      (data.effects ? showWords : showAnswer)(data);
    }
  });
  made.postMessage({ base: base.href, settings });
  return made;
}

function fail(reason) {
  parts.progress.hidden = true;
  parts.status.classList.remove("spoken");
  parts.status.textContent = `This did not work: ${reason}. Try again, or reload the page.`;
  worker?.terminate();
  worker = undefined;
}

function showAnswer({ probabilities, tokens, ids, cut }) {
  const order = probabilities.map((_, row) => row).sort((a, b) => probabilities[b] - probabilities[a]);
  const [best] = order;
  const [name, value] = [settings.label_names[best], probabilities[best]];
  const declines = value < (settings.threshold ?? 0);
  const answer = declines ? "I would rather not say." : name;
  const pieces = [element("p", { class: "answer" }, answer)];
  if (declines) {
    const digits = percent(value) === percent(settings.threshold) ? 2 : 0;
    const [found, wanted] = [value, settings.threshold].map((share) => percent(share, digits));
    const why = `${name} is my best guess, at ${found}. I only answer from ${wanted} on.`;
    pieces.push(element("p", {}, why));
  }
  const bars = element("dl", { class: "bars" });
  for (const row of order.slice(0, 20)) {
    const bar = element("div", { class: "bar", style: `width: ${100 * probabilities[row]}%` });
    bars.append(
      element("dt", {}, settings.label_names[row]), element("dd", { "aria-hidden": "true" }, bar),
      element("dd", { "data-probability": probabilities[row] }, percent(probabilities[row])),
    );
  }
  const shown = tokens.map((token, place) => element("code", { title: `id ${ids[place]}` }, token));
  const what = `${tokens.length} tokens: what the model reads`;
  const rest = order.length > 20 ? [element("p", { class: "note" }, `and ${order.length - 20} labels that are less probable`)] : [];
  parts.words = element("div", { class: "words", dir: "auto" });
  pieces.push(
    bars, ...rest, parts.words,
    element("details", { class: "tokens", open: "" }, element("summary", {}, what), element("p", {}, ...shown)),
  );
  parts.result.replaceChildren(...pieces);
  const long = cut ? ` The text was cut at ${settings.max_length} tokens.` : "";
  parts.status.classList.toggle("spoken", !cut);
  parts.status.textContent = `${declines ? answer : `${name}, ${percent(value)}.`}${long}`;
}

/** Shade each word by how much the label's probability falls, or rises, when the word is left out. */
function showWords({ text, label, effects, left_out }) {
  const line = element("p", {});
  let end = 0;
  for (const { start, stop, effect } of effects) {
    line.append(text.slice(end, start));
    const color = effect > 0 ? "for" : "against";
    const share = Math.min(75, Math.round(150 * Math.abs(effect)));
    const shade = `background: color-mix(in srgb, var(--classifier-${color}) ${share}%, transparent)`;
    const mark = element("mark", { style: shade, "data-effect": effect }, text.slice(start, stop));
    line.append(element("ruby", {}, mark, element("rt", {}, points(effect))));
    end = stop;
  }
  line.append(text.slice(end));
  const rest = left_out ? ` ${left_out} words were not tried.` : "";
  const what = `The number over a word says how many percentage points it adds to ${settings.label_names[label]}`;
  const how = `: the model read the text again without the word. Blue is for the label, orange against it.${rest}`;
  parts.words.replaceChildren(line, element("p", { class: "note" }, what + how));
}

async function main() {
  if (location.protocol === "file:") {
    const advice = "Browsers run no model from a file. In this folder run: python -m http.server";
    container.replaceChildren(element("p", {}, advice));
    return;
  }
  const style = element("link", { rel: "stylesheet", href: new URL("classifier.css", base).href });
  document.head.append(style);
  const answer = await fetch(new URL("page.json", base));
  if (!answer.ok) throw new Error(`page.json: ${answer.status}`);
  settings = await answer.json();
  build();
}

main().catch((error) => container.replaceChildren(element("p", {}, `The classifier could not start: ${error.message}.`)));
