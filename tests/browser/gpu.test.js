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
