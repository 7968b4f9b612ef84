//! The policy that the tests use: so small that WebGPU in software can write with it.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

const BUNDLE = new URL("./tiny.kudos", import.meta.url);
/** Its name on the test's host. */
export const TINY_FILE = "policies/tiny.kudos";
export const CATALOG_FILE = "policies/catalog.json";

/** The bundle, with zeros after it up to `length` bytes: readers look only where the manifest says. */
export async function tinyBundle(length = 0) {
  const bytes = await readFile(BUNDLE);
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, length - bytes.length))]);
}

/** Makes `server` offer this bundle of the tiny policy and nothing else, with `changes` in the catalog. */
export async function serveTinyPolicy(server, changes = {}, bytes = undefined) {
  servePolicies(server, { "tiny.kudos": bytes ?? (await tinyBundle()) }, changes);
}

/** Makes `server` offer these bundles, by file name, and nothing else; returns their entries in the catalog. */
export function servePolicies(server, bundles, changes = {}) {
  const policies = Object.entries(bundles).map(([file, bytes]) => {
    server.put(`policies/${file}`, bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { file, bytes: bytes.length, sha256, manifest: manifestOf(bytes) };
  });
  server.put(CATALOG_FILE, JSON.stringify({ policies, ...changes }));
  return policies;
}

/** The JSON that stands after the magic word, the version and its own length. */
function manifestOf(bytes) {
  const begin = 16;
  const length = bytes.readUInt32LE(12);
  return JSON.parse(bytes.subarray(begin, begin + length).toString("utf8"));
}
