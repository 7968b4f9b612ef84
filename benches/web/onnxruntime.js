//! In the page: greedy decoding with onnxruntime-web, on the CPU with one thread; keys and values come out and go in again.

import * as ort from "./npm/onnxruntime-web/dist/ort.wasm.min.mjs";

/** Tokens a second, after the first, in the best of so many completions. */
export async function speed(name, tokens, rounds) {
  ort.env.wasm.wasmPaths = new URL("./npm/onnxruntime-web/dist/", import.meta.url).href;
  ort.env.wasm.numThreads = 1;
  const shape = (await (await fetch("./models/shapes.json")).json())[name];
  const bytes = new Uint8Array(await (await fetch(`./models/${name}.onnx`)).arrayBuffer());
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  let best = 0;
  for (let round = 0; round < rounds; round += 1) {
    best = Math.max(best, await decode(session, shape, tokens));
  }
  await session.release();
  return best;
}

async function decode(session, shape, tokens) {
  const cache = emptyCache(shape);
  let ids = Array(16).fill(1n);
  let past = 0;
  let begin = 0;
  for (let step = 0; step <= tokens; step += 1) {
    const total = past + ids.length;
    const positions = ids.map((_, place) => BigInt(past + place));
    const out = await session.run({
      input_ids: integers(ids),
      attention_mask: integers(Array(total).fill(1n)),
      position_ids: integers(positions),
      ...cache,
    });
    for (const key of Object.keys(cache)) {
      cache[key] = out[key.replace("past_key_values", "present")];
    }
    ids = [BigInt(likeliest(out.logits.data, shape.vocabulary))];
    past = total;
    if (step === 0) {
      begin = performance.now();
    }
  }
  return tokens / ((performance.now() - begin) / 1000);
}

function emptyCache({ layers, heads, width }) {
  const cache = {};
  for (let layer = 0; layer < layers; layer += 1) {
    for (const part of ["key", "value"]) {
      const none = new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, width / heads]);
      cache[`past_key_values.${layer}.${part}`] = none;
    }
  }
  return cache;
}

function integers(values) {
  return new ort.Tensor("int64", BigInt64Array.from(values), [1, values.length]);
}

/** The place of the largest logit of the last position. */
function likeliest(logits, vocabulary) {
  const begin = logits.length - vocabulary;
  let best = begin;
  for (let place = begin + 1; place < logits.length; place += 1) {
    if (logits[place] > logits[best]) {
      best = place;
    }
  }
  return best - begin;
}
