//! In the page: decoding with wllama (llama.cpp), on the CPU with one thread.

import { Wllama } from "./npm/@wllama/wllama/esm/index.js";

/** Tokens a second, after the first. */
export async function speed(name, tokens) {
  const quiet = () => undefined;
  const logger = { debug: quiet, log: quiet, warn: quiet, error: quiet };
  const wllama = new Wllama({ default: "./npm/@wllama/wllama/esm/wasm/wllama.wasm" }, { logger });
  wllama.setCompat(null);
  const model = await (await fetch(`./models/${name}.gguf`)).blob();
  await wllama.loadModel([model], { n_ctx: 256, n_gpu_layers: 0, n_threads: 1 });
  // The first completion also prepares what the second finds ready.
  await decode(wllama, 8);
  const rate = await decode(wllama, tokens + 1);
  await wllama.exit();
  return rate;
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
