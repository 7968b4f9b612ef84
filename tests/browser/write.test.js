//! Writing: on the CPU and on WebGPU, stopped, seeded, with a lost device, and without making the page wait.

import assert from "node:assert/strict";

import { Gpu } from "./driver.js";
import { scenario } from "./scenario.js";

/** The longest that anything may occupy the page's main thread while it writes. */
const LONGEST_TASK_MS = 50;
/** How soon Stop must have its effect. */
const STOP_MS = 100;
/** WebGPU in software takes a second or so for a token. */
const FEW = 6;

scenario("the CPU writes token by token", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.set({ length: 12, seed: 3, temperature: 1 });
  await visitor.write();
  assert.match(await visitor.at("status").innerText(), /on the CPU/);
  assert.match(await visitor.page.locator("#status .speed").innerText(), /\d/);
  for (const place of [0, 1]) {
    const tokens = await visitor.tokens(place);
    assert.ok(tokens > 0 && tokens <= 12, `${tokens} tokens`);
  }
});

scenario("the same seed and settings give the same text", {}, async ({ visitor }) => {
  const write = async (settings) => {
    await visitor.set(settings);
    await visitor.write("Once");
    return visitor.texts();
  };
  await visitor.arrive();
  await visitor.mode("single");
  const settings = { length: 16, seed: 11, temperature: 1, "top-k": 0, "top-p": 1 };
  const first = await write(settings);
  assert.deepEqual(await write(settings), first);
  assert.notDeepEqual(await write({ ...settings, seed: 12 }), first);
  const greedy = await write({ ...settings, temperature: 0 });
  assert.deepEqual(await write({ ...settings, temperature: 0, seed: 12 }), greedy, "greedy needs no coins");
  assert.deepEqual(await write({ ...settings, "top-k": 1, seed: 12 }), greedy, "nor does one token to choose from");
});

scenario("a setting that cannot be used is a sentence", {}, async ({ visitor }) => {
  await visitor.arrive();
  for (const [setting, wrong, right, sentence] of [
    ["temperature", "-1", "1", /temperature must be/],
    ["top-p", "0", "1", /Top-p must be/],
    ["length", "0", "8", /longest length must be/],
  ]) {
    await visitor.set({ [setting]: wrong });
    await visitor.begin();
    assert.match(await visitor.trouble(), sentence);
    await visitor.set({ [setting]: right });
    await visitor.at("error").waitFor({ state: "hidden" });
  }
  await visitor.begin(" ");
  assert.match(await visitor.trouble(), /There is no prompt/);
  await visitor.write();
});

scenario("Stop works at once on the CPU", {}, async ({ visitor, note }) => {
  await visitor.arrive();
  await stopInTheMidst(visitor, note);
});

scenario("WebGPU writes what the visitor rates", { gpu: Gpu.SOFTWARE }, async ({ browser, visitor }) => {
  await arriveOnGpu(visitor);
  await visitor.set({ length: FEW, seed: 3 });
  await visitor.mode("single");
  await visitor.rate("thumb-up");
  const status = await visitor.at("status").innerText();
  assert.match(status, /on the GPU/);
  await browser.picture("written-on-gpu");
  const [rating] = await visitor.ratings();
  assert.match(rating.backend, /webgpu|wgpu/i);
  assert.ok(rating.samples[0].token_ids.length > 0);
});

scenario("Stop works at once on WebGPU", { gpu: Gpu.SOFTWARE }, async ({ visitor, note }) => {
  await arriveOnGpu(visitor);
  await stopInTheMidst(visitor, note);
});

scenario("a lost device goes on with the text on the CPU", { gpu: Gpu.SOFTWARE }, async ({ browser, visitor, page }) => {
  await arriveOnGpu(visitor);
  await visitor.mode("single");
  await visitor.set({ length: 24, seed: 5, temperature: 1, "top-k": 0, "top-p": 1 });
  await visitor.begin();
  await page.locator(".completion .token").first().waitFor();
  const before = (await visitor.texts())[0];
  await browser.loseDevices();
  await visitor.written();
  const after = (await visitor.texts())[0];
  assert.ok(after.startsWith(before), `${JSON.stringify(after)} goes on from ${JSON.stringify(before)}`);
  assert.ok((await visitor.tokens()) > 1);
  assert.match(await visitor.at("status").innerText(), /on the CPU/);
  await page.getByText(/The GPU was lost/).first().waitFor();
  await visitor.judge("thumb-up");
  const [rating] = await visitor.ratings();
  assert.equal(rating.samples[0].token_ids.length, rating.samples[0].logprobs_drawn.length);
});

scenario("no task on the main thread is long while the page writes", {}, async ({ browser, visitor, note }) => {
  await visitor.arrive();
  await visitor.write();
  const events = await browser.traced(() => visitor.write());
  const tasks = mainThreadTasks(events);
  assert.ok(tasks.length > 0, "the trace holds the main thread's tasks");
  const longest = Math.max(...tasks.map((task) => task.tdur)) / 1000;
  note(`${tasks.length} tasks, the longest took ${longest.toFixed(1)} ms of the CPU`);
  assert.ok(longest <= LONGEST_TASK_MS, `a task took ${longest} ms`);
});

/** Opens the page, chooses the GPU and waits until it computes. */
async function arriveOnGpu(visitor) {
  await visitor.arrive();
  await visitor.choose("gpu");
  await visitor.at("status").getByText(/on the GPU/).first().waitFor();
}

/** Begins a long text, presses Stop after its first tokens, and checks that none follows. */
async function stopInTheMidst(visitor, note) {
  const { page } = visitor;
  await visitor.mode("single");
  await visitor.open("settings");
  const longest = await visitor.at("length").getAttribute("max");
  await visitor.set({ length: Number(longest) - 16, seed: 1, temperature: 1, "top-k": 0, "top-p": 1 });
  const stopped = page.evaluate(stopAfterTwoTokens);
  await visitor.begin("Once");
  const { milliseconds, tokens } = await stopped;
  note(`stopped after ${milliseconds.toFixed(1)} ms`);
  assert.ok(milliseconds <= STOP_MS, `it took ${milliseconds} ms`);
  // The engine answers in order: once it has answered this, nothing of the text is on its way any more.
  await visitor.at("color-toggle").click();
  await page.locator(".completion .token").first().click();
  await page.locator("#token-panel .alternative").first().waitFor();
  assert.equal(await visitor.tokens(), tokens, "no token came after");
  await page.keyboard.press("Escape");
  await visitor.judge("thumb-up");
  const [sample] = (await visitor.ratings())[0].samples;
  assert.equal(sample.end_reason, "interrupted");
  assert.equal(sample.token_ids.length, tokens);
}

/** In the page: presses Stop when two tokens stand there; the time until the text can be rated, and the tokens then. */
function stopAfterTwoTokens() {
  const tokens = () => document.querySelectorAll(".completion .token").length;
  return new Promise((done) => {
    let pressed;
    const watch = new MutationObserver(() => {
      if (pressed === undefined && tokens() >= 2) {
        pressed = performance.now();
        document.querySelector("#stop").click();
      } else if (pressed !== undefined && document.querySelector("#thumb-up:enabled")) {
        watch.disconnect();
        done({ milliseconds: performance.now() - pressed, tokens: tokens() });
      }
    });
    watch.observe(document.body, { attributes: true, childList: true, subtree: true });
  });
}

/** The tasks of the threads that pages run on, with the CPU time of each in microseconds. */
function mainThreadTasks(events) {
  const isMain = (event) => event.name === "thread_name" && event.args.name === "CrRendererMain";
  const mains = new Set(events.filter(isMain).map((event) => `${event.pid} ${event.tid}`));
  const isTask = (event) => event.name === "RunTask" && event.ph === "X" && event.tdur !== undefined;
  return events.filter((event) => isTask(event) && mains.has(`${event.pid} ${event.tid}`));
}
