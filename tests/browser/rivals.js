//! Policies that the tiny one meets, made by the trainer in a moment: one of its own tokens, and one of others.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { named } from "./surroundings.js";

const run = promisify(execFile);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The bundles on the disk: the tiny policy, one taught on from it, one with tokens of its own. */
export async function makeRivals() {
  const folder = await mkdtemp(path.join(os.tmpdir(), "kudos-rivals-"));
  const trainer = (...args) => run(named("KUDOS_TRAINER"), args, { cwd: folder });
  const common = ["--device", "flex", "--seed", "3"];
  const taught = ["--model", here("./tiny.kudos"), "--task", "sentences", "--steps", "8", "--learning-rate", "1e-2"];
  await trainer("sft", ...taught, ...common, "--output-dir", "rival");
  const recipe = await readFile(here("./tiny.toml"), "utf8");
  await writeFile(path.join(folder, "stranger.toml"), recipe.replace("vocab_size = 512", "vocab_size = 300"));
  await trainer("pretrain", "--config", "stranger.toml", "--steps", "1", ...common, "--output-dir", "stranger");
  for (const name of ["rival", "stranger"]) {
    const card = await readFile(here("./tiny-card.toml"), "utf8");
    await writeFile(path.join(folder, `${name}-card.toml`), card.replace('name = "tiny"', `name = "Tiny ${name}"`));
    await trainer("export", "--model", `${name}/model`, "--card", `${name}-card.toml`, "--output", `${name}.kudos`);
  }
  const remove = () => rm(folder, { recursive: true, force: true });
  const files = [here("./tiny.kudos"), path.join(folder, "rival.kudos"), path.join(folder, "stranger.kudos")];
  return { files, folder, remove };
}
