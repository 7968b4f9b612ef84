//! Writing on WebGPU, computed in software: right, and slow, so that one visit shows everything.

import assert from "node:assert/strict";

import { Gpu } from "./driver.js";
import { writeGolden } from "./golden.js";
import { scenario } from "./scenario.js";
import { stopInTheMidst } from "./stop.js";

/** Tokens that the engine writes before it reads the device. */
const TOKENS_A_READ = 8;

scenario("WebGPU computes for the visitor who wants it", { gpu: Gpu.SOFTWARE }, async ({ browser, visitor, page, note, law }) => {
  await visitor.arrive();
  await visitor.choose("gpu");
  await page.locator("#status .engine").getByText("on the GPU").waitFor();
  await visitor.mode("single");

  await law("it writes the golden texts", async () => {
    const largest = await writeGolden(visitor, { most: TOKENS_A_READ, tolerance: 1e-3 });
    note(`largest difference ${largest} nats`);
    assert.ok((await visitor.ratings()).every((rating) => rating.backend.startsWith("WebGPU")));
    await visitor.shut("ratings");
    await browser.picture("written-on-gpu");
  });

  await law("the device is read at most once in eight tokens", async () => {
    const text = await page.locator("#status .speed").innerText();
    const [, reads] = /([\d.]+) reads/.exec(text);
    assert.ok(Number(reads) <= 0.13, text);
    await visitor.set({ length: 2 * TOKENS_A_READ, seed: 5, temperature: 1, "top-k": 0, "top-p": 1 });
    const work = await countWork(page);
    await visitor.write();
    const { dispatches, maps } = await work();
    const tokens = await page.locator(".completion .token").count();
    note(`a token, its share of the prompt included: ${dispatches / tokens} dispatches, ${maps / tokens} buffers read`);
    assert.ok(dispatches > 0 && maps > 0 && maps / tokens <= 1 / TOKENS_A_READ + 1 / tokens, `${maps} for ${tokens} tokens`);
  });

  await law("Stop works at once", () => stopInTheMidst(visitor, note));

  await law("a lost device goes on with the text on the CPU", async () => {
    await visitor.set({ length: 3 * TOKENS_A_READ, seed: 5, temperature: 1, "top-k": 0, "top-p": 1 });
    await visitor.begin();
    await page.locator(".completion .token").first().waitFor();
    const [before] = await visitor.texts();
    await browser.loseDevices();
    await visitor.written();
    const [after] = await visitor.texts();
    assert.ok(after.startsWith(before) && after.length > before.length, `${after} goes on from ${before}`);
    await page.locator("#status .engine").getByText("on the CPU").waitFor();
    await page.getByText("The GPU was lost, so the CPU goes on.").waitFor();
    await visitor.judge("thumb-up");
    const rating = (await visitor.ratings()).at(-1);
    assert.match(rating.backend, /WebGPU.*flex/, "the record names both devices");
  });
});

/** Counts from now on what the worker asks of its graphics device; the returned function tells. */
async function countWork(page) {
  const worker = page.workers().find((each) => each.url().includes("engine-gpu"));
  await worker.evaluate(() => {
    self.work = { dispatches: 0, maps: 0 };
    const count = (prototype, method, what) => {
      const original = prototype[method];
      prototype[method] = function counted(...parts) {
        self.work[what] += 1;
        return original.apply(this, parts);
      };
    };
    count(GPUComputePassEncoder.prototype, "dispatchWorkgroups", "dispatches");
    count(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", "dispatches");
    count(GPUBuffer.prototype, "mapAsync", "maps");
  });
  return () => worker.evaluate(() => self.work);
}
