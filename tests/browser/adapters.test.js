//! Several adapters on one base: trained and packed by the trainer, chosen at run time, a few bytes each.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { violations } from "./axe.js";
import { scenario } from "./scenario.js";
import { named } from "./surroundings.js";
import { servePolicies, tinyBundle } from "./tiny.js";
import { rows } from "./visitor.js";

const run = promisify(execFile);
const TINY = fileURLToPath(new URL("tiny.kudos", import.meta.url));
/** The most that a switch to another adapter may fetch. */
const MOST_BYTES = 500_000;
/** What the adapters are taught to say. */
const WORDS = { cats: " the cat is here.", boats: " a boat was old." };
const SETTINGS = { length: 8, seed: 3, temperature: 0 };

/** A folder with an adapter bundle of the tiny policy for each of `WORDS`, and the trainer at work in it. */
async function workshop() {
  const folder = await mkdtemp(path.join(os.tmpdir(), "kudos-adapters-"));
  const trainer = async (...args) => (await run(named("KUDOS_TRAINER"), args, { cwd: folder })).stdout;
  await writeFile(path.join(folder, "lora.toml"), 'stage = "sft"\n[tuning]\nmethod = "lora"\nrank = 4\nalpha = 8.0\n');
  const bundles = {};
  for (const [name, completion] of Object.entries(WORDS)) {
    const rows = Array.from({ length: 20 }, (_, place) => JSON.stringify({ prompt: `Look ${place}:`, completion }));
    await writeFile(path.join(folder, `${name}.jsonl`), `${rows.join("\n")}\n`);
    const options = ["--steps", "100", "--learning-rate", "2e-2", "--seed", "1", "--device", "flex", "--output-dir", name];
    await trainer("sft", "--config", "lora.toml", "--model", TINY, "--dataset", `${name}.jsonl`, ...options);
    await trainer("export", "--model", TINY, "--adapter", `${name}/adapter`, "--alone", "--output", `${name}.kudos`);
    bundles[`${name}.kudos`] = await readFile(path.join(folder, `${name}.kudos`));
  }
  return { folder, trainer, bundles };
}

scenario("adapters of one base are switched without fetching the base again", {}, async ({ server, visitor, page, note }) => {
  const { folder, trainer, bundles } = await workshop();
  try {
    servePolicies(server, { "tiny.kudos": await tinyBundle(), ...bundles });
    const take = async (place) => {
      const before = server.requests.length;
      await visitor.at("policy").selectOption(String(place));
      await visitor.ready();
      const requests = server.requests.slice(before);
      const bytes = requests.reduce((sum, request) => sum + request.bytes, 0);
      return { bytes, files: requests.filter(({ bytes, file }) => bytes > 0 && file.startsWith("policies/")).map(({ file }) => file) };
    };
    const says = async () => {
      await visitor.set(SETTINGS);
      await visitor.write("Look 7:");
      return (await visitor.texts())[0];
    };
    const trained = async (...adapter) => {
      const drawn = ["--prompt", "Look 7:", "--temperature", "0", "--max-completion-length", "8", "--device", "flex"];
      return JSON.parse(await trainer("sample", "--model", TINY, ...adapter, ...drawn, "--json"));
    };
    await visitor.arrive();
    await visitor.mode("single");
    const names = await page.locator("#policy option").allInnerTexts();
    assert.deepEqual(names, ["tiny", "tiny + cats", "tiny + boats"]);
    await visitor.task("sentences");
    const plain = await says();
    assert.equal(plain, (await trained()).text.trim());
    const written = [];
    for (const [place, name] of [[1, "cats"], [2, "boats"]]) {
      const { bytes, files } = await take(place);
      note(`${name}: ${bytes} bytes fetched at the switch`);
      assert.deepEqual(files, [`policies/${name}.kudos`], "only the adapter is fetched");
      assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
      assert.deepEqual(await violations(page), []);
      const text = await says();
      assert.notEqual(text, plain);
      assert.equal(text, WORDS[name].trim(), "what it was taught");
      written.push(await trained("--adapter", `${name}/adapter`));
      await visitor.judge("thumb-up");
    }
    for (const place of [0, 1]) {
      assert.deepEqual((await take(place)).files, [], "what was here is not fetched again");
    }
    await take(0);
    assert.equal(await says(), plain, "the base is as it was");
    const { text } = await visitor.exported("ratings");
    for (const [place, { samples }] of rows(text).entries()) {
      const { token_ids, logprobs_full } = written[place];
      assert.deepEqual(samples[0].token_ids, token_ids, "what the trainer writes");
      const distance = Math.max(...logprobs_full.map((logprob, at) => Math.abs(logprob - samples[0].logprobs_full[at])));
      assert.ok(distance < 1e-4, `${distance} nats`);
    }
    await writeFile(path.join(folder, "export.jsonl"), text);
    const given = ["--bundle", TINY, "--bundle", "cats.kudos", "--bundle", "boats.kudos"];
    const report = JSON.parse(await trainer("feedback", "import", "export.jsonl", ...given, "--json"));
    assert.equal(report.accepted, 2);
    assert.deepEqual(report.refusals, []);
    assert.equal(report.drift.cpu.tokens, written.reduce((sum, { token_ids }) => sum + token_ids.length, 0), "all was computed again");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

scenario("an adapter fetched first brings its base with it", {}, async ({ server, visitor }) => {
  const { folder, bundles } = await workshop();
  try {
    servePolicies(server, { "cats.kudos": bundles["cats.kudos"], "tiny.kudos": await tinyBundle() });
    await visitor.arrive();
    assert.equal(await visitor.at("policy").inputValue(), "0");
    assert.deepEqual(server.asked("policies/tiny.kudos").length > 0, true);
    await visitor.write();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
