//! Writing on the CPU: token by token, seeded, stopped, and without making the page wait.

import assert from "node:assert/strict";

import { writeGolden } from "./golden.js";
import { scenario } from "./scenario.js";
import { slowDown, stopInTheMidst } from "./stop.js";

/** The longest that anything may occupy the page's main thread while it writes. */
const LONGEST_TASK_MS = 50;

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

scenario("the CPU writes the golden texts", {}, async ({ visitor, note }) => {
  await visitor.arrive();
  await visitor.mode("single");
  note(`largest difference ${await writeGolden(visitor, { most: Infinity, tolerance: 1e-5 })} nats`);
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

scenario("Stop works at once on the CPU", {}, async ({ visitor, page, note }) => {
  await visitor.arrive();
  await slowDown(page);
  await stopInTheMidst(visitor, note);
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

/** The tasks of the threads that pages run on, with the CPU time of each in microseconds. */
function mainThreadTasks(events) {
  const isMain = (event) => event.name === "thread_name" && event.args.name === "CrRendererMain";
  const mains = new Set(events.filter(isMain).map((event) => `${event.pid} ${event.tid}`));
  const isTask = (event) => event.name === "RunTask" && event.ph === "X" && event.tdur !== undefined;
  return events.filter((event) => isTask(event) && mains.has(`${event.pid} ${event.tid}`));
}
