//! I6: the page writes what the trainer writes. Prompt, settings and seed of each case in tests/golden/page_writes.json give the
//! tokens and log-probabilities that stand there, which PyTorch computed and a native test reads too.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { Gpu } from "./driver.js";
import { scenario } from "./scenario.js";

const CASES = JSON.parse(await readFile(new URL("../golden/page_writes.json", import.meta.url), "utf8"));
/** Largest difference of a log-probability in nats. */
const ON_CPU = 1e-5;
const ON_GPU = 1e-3;

scenario("the page on the CPU writes the golden texts", {}, async ({ visitor, note }) => {
  await visitor.arrive();
  await visitor.mode("single");
  note(`largest difference ${await compare(visitor, CASES, ON_CPU)} nats`);
});

scenario("the page on WebGPU writes the golden texts", { gpu: Gpu.SOFTWARE }, async ({ visitor, note }) => {
  await visitor.arrive();
  await visitor.choose("gpu");
  await visitor.at("status").getByText(/on the GPU/).first().waitFor();
  await visitor.mode("single");
  note(`largest difference ${await compare(visitor, CASES, ON_GPU)} nats`);
});

/** Lets the page write each case and compares its record; the largest difference of all. */
async function compare(visitor, cases, tolerance) {
  let largest = 0;
  for (const golden of cases) {
    const { prompt, samples } = await record(visitor, golden);
    const [sample] = samples;
    assert.deepEqual(prompt.token_ids, golden.prompt_ids);
    assert.deepEqual(sample.token_ids, golden.token_ids);
    assert.equal(sample.seed, golden.seed);
    for (const name of ["logprobs_drawn", "logprobs_full"]) {
      for (const [place, value] of sample[name].entries()) {
        const difference = Math.abs(value - golden[name][place]);
        largest = Math.max(largest, difference);
        assert.ok(difference <= tolerance, `${name}[${place}] is ${value}, not ${golden[name][place]}`);
      }
    }
  }
  return largest;
}

/** The rating of what the page writes for a case. */
async function record(visitor, { messages, text, seed, sampling }) {
  const { temperature, top_k = 0, top_p = 1, max_completion_length } = sampling;
  // The system message is the task's name.
  await visitor.task(messages ? messages[0].content : "sentences");
  await visitor.set({ temperature, "top-k": top_k, "top-p": top_p, length: max_completion_length, seed });
  await visitor.write(messages ? messages[1].content : text);
  await visitor.judge("thumb-up");
  const rating = (await visitor.ratings()).at(-1);
  await visitor.shut("ratings");
  return rating;
}
