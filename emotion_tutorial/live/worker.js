// Beside the page, so that typing stays smooth: the tokenizer and the model.

import { Tokenizer } from "./lib/tokenizers.js";
import * as ort from "./lib/ort.js";

let base, settings, ready, latest = 0;

addEventListener("message", async ({ data }) => {
  if (data.settings) {
    ({ base, settings } = data);
    return;
  }
  latest = data.request;
  if (data.text === undefined) return;
  try {
    ready ??= load();
    await answer(data.text, data.request, await ready);
  } catch (error) {
    postMessage({ failed: error.message ?? String(error) });
  }
});

/** Fetch a file, and report how much of all files has arrived. */
async function read(name, arrived) {
  const response = await fetch(new URL(`${name}?v=${settings.version}`, base));
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status})`);
  const chunks = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    arrived.bytes += value.length;
    postMessage({ loaded: Math.min(0.99, arrived.bytes / settings.bytes) });
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

async function load() {
  const now = await (await fetch(new URL("page.json", base), { cache: "no-store" })).json();
  if (now.version !== settings.version) throw new Error("the page has changed since it was opened; reload it");
  const arrived = { bytes: 0 };
  const names = ["model/model.onnx", "model/tokenizer.json", "lib/ort-wasm.wasm"];
  const [model, rules, wasm] = await Promise.all(names.map((name) => read(name, arrived)));
  ort.env.wasm.numThreads = 1; // more need headers that a plain server of files does not send
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL("lib/ort-wasm.js", base).href };
  const json = JSON.parse(new TextDecoder().decode(rules));
  // What tells [SEP] in a text from the token is here, and not in tokenizer.json.
  if (settings.split_special_tokens) json.added_tokens = json.added_tokens.filter((token) => !token.special);
  const tokenizer = new Tokenizer(json, {});
  // How many special tokens come before a text.
  const [whole, inner] = [true, false].map((special) => tokenizer.encode("a", { add_special_tokens: special }).ids);
  const before = Math.max(0, whole.findIndex((_, place) => inner.every((id, more) => whole[place + more] === id)));
  const normalizer = JSON.stringify(json.normalizer ?? "");
  const lowers = normalizer.includes('"lowercase":true') || normalizer.includes('"type":"Lowercase"');
  const splits = normalizer.includes('"handle_chinese_chars":true');
  /** Return a text so that JavaScript reads it as the tokenizers library does: it has its own rules for some letters. */
  const prepare = (text) => {
    const plain = lowers ? text.replaceAll("Σ", "σ") : text;
    return splits ? plain.replace(/[\u{20000}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu, " $& ") : plain;
  };
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  postMessage({ loaded: 1 });
  return { tokenizer, session, before, prepare };
}

/** Return a text's token ids, cut at the model's context as export_onnx's settings say, and whether it was cut. */
function encode(text, { tokenizer, before, prepare }) {
  const read = prepare(text);
  const whole = tokenizer.encode(read).ids;
  if (whole.length <= settings.max_length) return { ids: whole.length ? whole : [settings.empty_text_id], cut: false };
  const inner = whole.length - tokenizer.encode("").ids.length;
  const room = settings.max_length - (whole.length - inner);
  const [first, last] = [before, before + inner];
  const kept = settings.truncation_side === "left" ? whole.slice(last - room, last) : whole.slice(first, first + room);
  return { ids: [...whole.slice(0, first), ...kept, ...whole.slice(last)], cut: true };
}

async function predict(ids, session) {
  const shape = [1, ids.length];
  const input = {
    input_ids: new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), shape),
    attention_mask: new ort.Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape),
  };
  const logits = [...(await session.run(input)).logits.data];
  if (logits.length !== settings.label_names.length) throw new Error("the model has other labels than the page");
  if (!logits.every(Number.isFinite)) throw new Error("the model gives values that are not finite");
  const highest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

async function answer(text, request, loaded) {
  if (request !== latest) return;
  const { tokenizer, session } = loaded;
  const { ids, cut } = encode(text, loaded);
  const probabilities = await predict(ids, session);
  postMessage({ request, probabilities, ids, cut, tokens: ids.map((id) => tokenizer.id_to_token(id) ?? String(id)) });
  const label = probabilities.indexOf(Math.max(...probabilities));
  const segments = new Intl.Segmenter(undefined, { granularity: "word" }).segment(text);
  const words = [...segments].filter((word) => word.isWordLike);
  const side = settings.truncation_side === "left" ? words.slice(-settings.max_words) : words;
  const tried = side.slice(0, settings.max_words);
  const effects = [];
  for (const { index, segment } of tried) {
    await new Promise((next) => setTimeout(next)); // a newer text may have come
    if (request !== latest) return;
    const stop = index + segment.length;
    const gap = /\s$/u.test(text.slice(0, index)) && /^\s/u.test(text.slice(stop)) ? 1 : 0; // not two spaces
    const rest = await predict(encode(text.slice(0, index) + text.slice(stop + gap), loaded).ids, session);
    effects.push({ start: index, stop, effect: probabilities[label] - rest[label] });
  }
  postMessage({ request, text, label, effects, left_out: words.length - tried.length });
}
