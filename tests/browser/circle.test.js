//! The whole circle, with nothing that stands in for anything: a toy policy is trained and exported, the collector serves the page
//! with it, scripted raters in Chromium prefer what mentions an animal, the trainer pulls their ratings and learns from them in four
//! ways, each next policy is published, and the same raters prefer it. What the collector asks, what raters are shown and where, and
//! what is drawn follow from seeds: every run is the same run.

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

import { giveCoins } from "./coins.js";
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
const RATINGS = { cpu: 150, gpu: 15 };
/** Ratings in which a new policy meets the first one. */
const MEETINGS = 80;

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
    const where = ["--site", this.at("site"), "--data", this.at("data"), "--listen", "127.0.0.1:0"];
    const args = [...where, "--query-seed", "1", ...free];
    this.collector = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
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
    return text;
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

/** Comes true once the collector has taken `count` ratings of this page. */
function taken(page, count) {
  return new Promise((done, failed) => {
    let seen = 0;
    page.on("response", async (response) => {
      if (response.request().method() === "POST" && response.url().endsWith("/v1/ratings")) {
        const { results } = await response.json().catch(failed);
        const refused = results.filter(({ status }) => status !== "accepted");
        if (refused.length > 0) {
          failed(new Error(JSON.stringify(refused)));
        }
        seen += results.length;
        if (seen === count) {
          done();
        }
      }
    });
  });
}

/** A rater with a browser and coins of their own, who answers what the collector asks until `count` verdicts are given and taken. */
async function rate(circle, { count, gpu = Gpu.NONE, seed }) {
  const browser = await Browser.open({ gpu });
  try {
    await giveCoins(browser.context, seed);
    const visitor = new Visitor(browser, { url: circle.url });
    await visitor.arrive();
    if (gpu === Gpu.SOFTWARE) {
      await visitor.choose("gpu");
      await visitor.page.locator("#status .engine").getByText("on the GPU").waitFor();
    }
    const all = taken(visitor.page, count);
    for (let given = 0; given < count; given += 1) {
      await visitor.ask();
      const [left, right] = (await visitor.texts()).map(mentions);
      await visitor.judge(left === right ? "judge-tie" : left ? "judge-left" : "judge-right");
    }
    await visitor.open("ratings");
    await visitor.at("send-now").click();
    await all;
    assert.deepEqual(browser.complaints, [], "the console is clean");
  } catch (error) {
    await browser.picture("failed-circle").catch(() => undefined);
    throw error;
  } finally {
    await browser.close();
  }
}

/** How often the policy of this hash won, and how often it lost, against the first. */
async function meetings(circle, sha256) {
  const lines = (await circle.admin("GET", "v1/export?format=ratings")).trim().split("\n");
  const met = lines.map((line) => JSON.parse(line)).filter(({ policy, rival }) => [policy.sha256, rival?.sha256].includes(sha256));
  const count = (side, choice) => met.filter((rating) => rating[side]?.sha256 === sha256 && rating.rival && rating.verdict.pair === choice).length;
  return { won: count("policy", "left") + count("rival", "right"), lost: count("policy", "right") + count("rival", "left") };
}

/** The lower end of Wilson's 95 % interval. */
function atLeast(won, all) {
  const z = 1.96;
  const share = won / all;
  const half = z * Math.sqrt((share * (1 - share)) / all + (z * z) / (4 * all * all));
  return (share + (z * z) / (2 * all) - half) / (1 + (z * z) / all);
}

/** What the raters said, as each way of learning takes it. */
const RECIPE = `
model = "first/model"
seed = 1
[batch]
prompts = 64
[optimizer]
adamw = { weight_decay = 0.0 }
[sampling]
max_completion_length = 8
[feedback]
ratings = ["ratings.jsonl"]
`;
const OFF_POLICY = `
[objective]
baseline = "none"
aggregation = { constant = 1 }
kl_placement = "loss_k2"
kl_coefficient = { fixed = 0.01 }
[feedback.importance]
max_drift_nats = 3.0
`;
const LEARNED = `
[data]
dataset = "prompts.jsonl"
[[reward]]
kind = "learned"
model = "reward/model"
`;

/** The next policies, by the way they were learned. */
async function learn(circle) {
  const recipe = async (name, stage, steps, learningRate, more = "") => {
    const text = RECIPE.replace("seed = 1", `stage = "${stage}"\nsteps = ${steps}\nseed = 1`);
    const parts = text.replace("[optimizer]", `[optimizer]\nlearning_rate = ${learningRate}`) + more;
    await writeFile(circle.at(`${name}.toml`), parts);
    const verb = stage.replace("_", "-");
    return circle.trainer(verb, "--config", `${name}.toml`, "--device", "flex", "--output-dir", name);
  };
  await recipe("off-policy", "off_policy", 100, "5e-3", OFF_POLICY);
  await recipe("dpo", "dpo", 60, "3e-4", "preference = { beta = 0.1, rpo_alpha = 1.0 }\n");
  await recipe("kto", "kto", 40, "1e-3");
  await recipe("reward", "reward", 60, "2e-3");
  const rows = PROMPTS.flatMap((prompt) => Array.from({ length: 8 }, () => `${JSON.stringify({ prompt })}\n`));
  await writeFile(circle.at("prompts.jsonl"), rows.join(""));
  await recipe("reinforce", "reinforce", 30, "2e-3", LEARNED);
  return ["off-policy", "dpo", "kto", "reinforce"];
}

test("a policy that learns from raters in their browsers is preferred by them", { timeout: TIMEOUT_MS }, async (context) => {
  const circle = await Circle.open();
  try {
    await circle.start();
    await circle.serve();
    await rate(circle, { count: RATINGS.cpu, seed: 1 });
    await rate(circle, { count: RATINGS.gpu, gpu: Gpu.SOFTWARE, seed: 2 });
    const { imported } = await circle.pull();
    const { cpu, other } = imported.drift;
    context.diagnostic(`recorded beside recomputed: CPU ${JSON.stringify(cpu)}, WebGPU ${JSON.stringify(other)}`);
    assert.equal(imported.verified, RATINGS.cpu + RATINGS.gpu, JSON.stringify(imported));
    assert.ok(cpu.tokens > 0 && cpu.worst_nats < 1e-4 && other.tokens > 0 && other.worst_nats < 1e-2);
    for (const [place, way] of (await learn(circle)).entries()) {
      const next = await circle.pack(`${way}/model`, way);
      await circle.admin("PUT", `v1/policies/${next.sha256}`, next.bytes);
      await rate(circle, { count: MEETINGS, seed: 3 + place });
      const { won, lost } = await meetings(circle, next.sha256);
      context.diagnostic(`${way}: won ${won}, lost ${lost}`);
      assert.ok(won / (won + lost) >= 0.6 && atLeast(won, won + lost) > 0.5, `${way}: won ${won}, lost ${lost}`);
      await circle.admin("DELETE", `v1/policies/${next.sha256}`);
    }
    await picture(circle);
  } finally {
    await circle.close();
  }
});

/** What the statistics show at the end. */
async function picture(circle) {
  const browser = await Browser.open();
  try {
    await browser.page.goto(`${circle.url}/stats`);
    await browser.picture("statistics");
  } finally {
    await browser.close();
  }
}
