//! Decoding in Chromium, ours beside the peers': one thread each, in turns. Every turn is a page of its own with several
//! completions, since the browser compiles for speed only what has run for a while; the best of each counts, since machines are
//! shared.
//!
//! Usage: node speed.js SITE MODELS, with KUDOS_CHROMIUM naming a Chromium

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { Browser } from "../../tests/browser/driver.js";
import { PageServer } from "../../tests/browser/server.js";

const TURNS = 3;
const ROUNDS = 6;
const TOKENS = 96;
const RUNTIMES = ["onnxruntime", "wllama", "kudos"];
const SHAPES = { xs: "4 layers, width 128, vocabulary 512", s: "6 layers, width 384, vocabulary 8192" };

const [site, models] = process.argv.slice(2);
const here = fileURLToPath(new URL(".", import.meta.url));
const server = await PageServer.start(here, { "models/": models, "npm/": `${here}node_modules`, "site/": site });
server.put("index.html", "<!doctype html><title>bench</title>");
const browser = await Browser.open();
await browser.page.goto(server.url);

/** One turn of a runtime, in a page of its own. */
async function turn(runtime, shape) {
  await browser.page.reload();
  return browser.page.evaluate(
    async ([runtime, shape, ...work]) => (await import(`./${runtime}.js`)).speed(shape, ...work),
    [runtime, shape, TOKENS, ROUNDS],
  );
}

const table = {};
for (const [shape, words] of Object.entries(SHAPES)) {
  const best = Object.fromEntries(RUNTIMES.map((runtime) => [runtime, 0]));
  for (let round = 0; round < TURNS; round += 1) {
    for (const runtime of RUNTIMES) {
      best[runtime] = Math.max(best[runtime], await turn(runtime, shape));
    }
  }
  const peers = RUNTIMES.filter((runtime) => runtime !== "kudos");
  const ratios = peers.map((peer) => `${(best.kudos / best[peer]).toFixed(2)} x ${peer}'s ${best[peer].toFixed(0)}`);
  console.log(`decoding, ${shape} (${words}): ${best.kudos.toFixed(0)} tokens/s, ${ratios.join(", ")}`);
  table[shape] = best;
}
await writeFile(`${models}/speed.json`, `${JSON.stringify(table, null, 2)}\n`);
await browser.close();
await server.close();
