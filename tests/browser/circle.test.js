//! The whole circle, with nothing that stands in for anything: a toy policy is trained and exported, the collector serves the page
//! with it, scripted raters in Chromium prefer what mentions an animal, the trainer pulls their ratings and learns from them in three
//! ways, each next policy is published, and the same raters prefer it.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Browser, Gpu } from "./driver.js";
import { named } from "./surroundings.js";
import { Visitor } from "./visitor.js";

const run = promisify(execFile);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const TIMEOUT_MS = 1_800_000;
const ANIMALS = ["cat", "dog", "fox", "hen", "owl"];
const THINGS = ["box", "car", "cup", "hat", "map"];
const VERBS = ["is here", "was old", "fell down", "is red", "came back"];
const PROMPTS = ["Look:", "I saw that", "They say that", "Once more,"];
/** Ratings made on the CPU, and on WebGPU in software, which is slow. */
const RATINGS = { cpu: 150, gpu: 30 };
/** Ratings in which a new policy meets the first one. */
const MEETINGS = 40;

/** Whether a text mentions an animal. */
const mentions = (text) => ANIMALS.some((animal) => text.includes(animal));

/** The folder in which all of it happens. */
class Circle {
  static async open() {
    return new Circle(await mkdtemp(path.join(os.tmpdir(), "kudos-circle-")));
  }

  constructor(folder) {
    this.folder = folder;
  }

  at(...names) {
    return path.join(this.folder, ...names);
  }

  /** What the trainer prints. */
  async trainer(...args) {
    return (await run(named("KUDOS_TRAINER"), args, { cwd: this.folder, env: { ...process.env, KUDOS_TOKEN: this.token } })).stdout;
  }

  /** Packs the policy in `model` under this name; the bundle with its hash. */
  async pack(model, name) {
    const card = [
      `name = "${name}"`, 'summary = "A toy."', 'tasks = ["sentences"]', 'license = "MIT"', 'recipe = "tests/browser/circle.test.js"',
      "[sampling]", "max_completion_length = 8", "[prompts]", `sentences = ${JSON.stringify(PROMPTS)}`,
    ];
    await writeFile(this.at(`${name}.toml`), card.join("\n"));
    await this.trainer("export", "--model", model, "--card", `${name}.toml`, "--output", `${name}.kudos`);
    const bytes = await readFile(this.at(`${name}.kudos`));
    return { name, bytes, sha256: createHash("sha256").update(bytes).digest("hex") };
  }

  /** A policy that speaks of animals as often as of things, as the only one of the page. */
  async start() {
    const rows = PROMPTS.flatMap((prompt) =>
      [...ANIMALS, ...THINGS].flatMap((noun) => VERBS.map((verb) => ({ prompt, completion: ` the ${noun} ${verb}.` }))),
    );
    await writeFile(this.at("rows.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const options = ["--steps", "150", "--learning-rate", "5e-3", "--seed", "1", "--device", "flex", "--output-dir", "first"];
    await this.trainer("sft", "--model", here("./tiny.kudos"), "--dataset", "rows.jsonl", ...options);
    this.first = await this.pack("first/model", "first");
    await cp(named("KUDOS_SITE"), this.at("site"), { recursive: true });
    await rm(this.at("site", "policies"), { recursive: true });
    await cp(this.at("first.kudos"), this.at("site", "policies", "first.kudos"), { recursive: true });
  }

  /** The collector serves the page. */
  async serve() {
    const program = named("KUDOS_COLLECTOR_PROGRAM");
    const free = ["--address-rate", "1000000", "--rater-rate", "1000000"];
    const args = ["--site", this.at("site"), "--data", this.at("data"), "--listen", "127.0.0.1:0", ...free];
    this.collector = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await new Promise((done, failed) => {
      this.collector.once("error", failed);
      createInterface(this.collector.stdout).once("line", (first) => done([first]));
    });
    this.url = line.match(/http:\/\/\S+/)[0];
    this.token = (await run(program, ["token", "add", "--data", this.at("data")])).stdout.trim();
    await this.admin("PUT", "v1/queries/settings", JSON.stringify({ random: 1, gold: 0, repeat: 0 }));
  }

  /** Asks the collector as its operator. */
  async admin(method, what, body) {
    const type = typeof body === "string" ? { "content-type": "application/json" } : {};
    const answer = await fetch(`${this.url}/${what}`, { method, body, headers: { authorization: `Bearer ${this.token}`, ...type } });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${what}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  async pull() {
    const bundles = ["--bundle", "first.kudos"];
    return JSON.parse(await this.trainer("feedback", "pull", this.url, ...bundles, "--json"));
  }

  async close() {
    this.collector?.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A rater with a browser of their own, who answers what the collector asks until `count` verdicts are given and posted. */
async function rate(circle, count, gpu) {
  const browser = await Browser.open({ gpu });
  try {
    const visitor = new Visitor(browser, { url: circle.url });
    await visitor.arrive();
    if (gpu === Gpu.SOFTWARE) {
      await visitor.choose("gpu");
    }
    for (let given = 0; given < count; given += 1) {
      await visitor.ask();
      const [left, right] = (await visitor.texts()).map(mentions);
      await visitor.judge(left === right ? "judge-tie" : left ? "judge-left" : "judge-right");
    }
    await visitor.open("ratings");
    for (;;) {
      await visitor.at("send-now").click();
      await visitor.page.waitForTimeout(200);
      const unsent = (await visitor.ratings()).length;
      const { ratings } = await circle.admin("GET", "v1/stats");
      if (ratings >= circle.expected + count) {
        circle.expected += count;
        return unsent;
      }
    }
  } finally {
    await browser.close();
  }
}

test("a policy that learns from raters in their browsers is preferred by them", { timeout: TIMEOUT_MS }, async (context) => {
  const circle = await Circle.open();
  circle.expected = 0;
  try {
    await circle.start();
    await circle.serve();
    await rate(circle, RATINGS.cpu, Gpu.NONE);
    await rate(circle, RATINGS.gpu, Gpu.SOFTWARE);
    const pulled = await circle.pull();
    context.diagnostic(JSON.stringify(pulled));
  } finally {
    await circle.close();
  }
});
