//! In the page: decoding with wllama (llama.cpp), on the CPU with one thread.

import { Wllama } from "./npm/@wllama/wllama/esm/index.js";

/** Tokens a second, after the first, in the best of so many completions. */
export async function speed(name, tokens, rounds) {
  const quiet = () => undefined;
  const logger = { debug: quiet, log: quiet, warn: quiet, error: quiet };
  const wllama = new Wllama({ default: "./npm/@wllama/wllama/esm/wasm/wllama.wasm" }, { logger });
  wllama.setCompat(null);
  const model = await (await fetch(`./models/${name}.gguf`)).blob();
  await wllama.loadModel([model], { n_ctx: 256, n_gpu_layers: 0, n_threads: 1 });
  let best = 0;
  for (let round = 0; round < rounds; round += 1) {
    best = Math.max(best, await decode(wllama, tokens + 1));
  }
  await wllama.exit();
  return best;
}

async function decode(wllama, tokens) {
  const pieces = await wllama.createCompletion({
    prompt: "one two three four five six seven eight",
    ignore_eos: true,
    max_tokens: tokens,
    seed: 1,
    stream: true,
    temperature: 0,
    timings_per_token: true,
  });
  let timings;
  for await (const piece of pieces) {
    timings = piece.timings ?? timings;
  }
  // By its own clock: some tokens complete no text and give no piece.
  return timings.predicted_per_second;
}
