//! I6: the page writes what the trainer writes. Prompt, settings and seed of each case in tests/golden/page_writes.json give the
//! tokens and log-probabilities that stand there, which PyTorch computed and a native test reads too.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const CASES = JSON.parse(await readFile(new URL("../golden/page_writes.json", import.meta.url), "utf8"));

/**
 * Lets the page write the first `most` tokens of each case and compares its records, log-probabilities to `tolerance` nats; returns
 * the largest difference. The visitor rates single texts.
 */
export async function writeGolden(visitor, { most, tolerance }) {
  let largest = 0;
  for (const golden of CASES) {
    const { prompt, samples } = await record(visitor, golden, most);
    const [sample] = samples;
    assert.deepEqual(prompt.token_ids, golden.prompt_ids);
    assert.deepEqual(sample.token_ids, golden.token_ids.slice(0, most));
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
async function record(visitor, { messages, text, seed, sampling }, most) {
  const { temperature, top_k = 0, top_p = 1, max_completion_length } = sampling;
  const length = Math.min(most, max_completion_length);
  // The system message is the task's name.
  await visitor.task(messages ? messages[0].content : "sentences");
  await visitor.set({ temperature, "top-k": top_k, "top-p": top_p, length, seed });
  await visitor.write(messages ? messages[1].content : text);
  await visitor.judge("thumb-up");
  const rating = (await visitor.ratings()).at(-1);
  await visitor.shut("ratings");
  return rating;
}
