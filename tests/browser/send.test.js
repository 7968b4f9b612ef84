//! Ratings that leave the page: to a collector, and as a file that the trainer reads.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Collector } from "./collector.js";
import { scenario } from "./scenario.js";
import { named } from "./surroundings.js";
import { serveTinyPolicy } from "./tiny.js";

const run = promisify(execFile);
const BROKEN = /net::ERR_|Failed to load resource/;
const COLLECTOR = { collector: Collector.ADDRESS };

scenario("a collector gets each rating once, masked, also after failures", { mayComplain: [BROKEN] }, async ({ server, visitor, page }) => {
  await serveTinyPolicy(server, COLLECTOR);
  const { collector } = server;
  collector.failures = [503, "lost"];
  await visitor.arrive();
  await visitor.write("Write to someone@example.org, please");
  await visitor.judge("judge-left");
  await visitor.open("ratings");
  await visitor.at("send-now").click();
  await page.getByText("Not sent yet: 0.").waitFor();
  assert.ok(collector.posts.length >= 3, "what failed came again by itself");
  assert.equal(new Set(collector.posts.map((ids) => ids.join())).size, 1, "each time under the same id");
  const [rating] = collector.received.values();
  assert.equal(collector.received.size, 1);
  assert.ok(!JSON.stringify(rating).includes("someone@example.org"), "what identifies people is masked");
  await page.locator("#judge-right:disabled").waitFor();
});

scenario("ratings made offline are sent when the network is back", { mayComplain: [BROKEN] }, async ({ server, browser, visitor }) => {
  await serveTinyPolicy(server, COLLECTOR);
  await visitor.arrive();
  await visitor.keptForOffline();
  await visitor.goOffline();
  await visitor.rate("judge-left");
  await visitor.reload();
  await server.listen();
  await browser.context.setOffline(false);
  await server.collector.until(() => server.collector.received.size === 1);
});

scenario("a rating that the collector refuses is shown with the reason and kept", {}, async ({ server, visitor, page }) => {
  await serveTinyPolicy(server, COLLECTOR);
  await visitor.arrive();
  await visitor.rate("judge-left");
  const [{ id }] = await visitor.ratings();
  server.collector.refused.set(id, "the policy is not known here");
  await visitor.at("send-now").click();
  await page.getByText("the policy is not known here").first().waitFor();
  assert.equal((await visitor.ratings()).length, 1);
});

scenario("the trainer imports what the page exports", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.set({ length: 8 });
  for (const button of ["judge-left", "judge-right", "judge-tie", "judge-both-bad"]) {
    await visitor.rate(button);
  }
  await visitor.mode("single");
  for (const button of ["thumb-up", "thumb-down", "star-1", "star-5"]) {
    await visitor.rate(button);
  }
  const { text } = await visitor.exported("ratings");
  const folder = await mkdtemp(path.join(os.tmpdir(), "kudos-import-"));
  try {
    const file = path.join(folder, "kudos-ratings.jsonl");
    const output = path.join(folder, "ratings.jsonl");
    await writeFile(file, text + text);
    const bundle = fileURLToPath(new URL("./tiny.kudos", import.meta.url));
    const report = await trainer(["import", "--bundle", bundle, "--output", output, file]);
    assert.deepEqual(
      [report.accepted, report.verified, report.duplicates, report.refusals],
      [8, 8, 8, []],
      "all fit the policy, log-probabilities too; those that came twice are dropped",
    );
    const stats = await trainer(["stats", output]);
    assert.deepEqual(stats.verdicts, { pair: 4, stars: 2, thumbs: 2 });
    assert.deepEqual(stats.all.pairs, { both_bad: 1, left: 1, right: 1, tie: 1 });
    assert.deepEqual(stats.all.star_counts, { 1: 1, 5: 1 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** What a verb of `trainer feedback` reports. */
async function trainer([verb, ...args]) {
  const { stdout } = await run(named("KUDOS_TRAINER"), ["feedback", verb, "--json", ...args]);
  return JSON.parse(stdout);
}
