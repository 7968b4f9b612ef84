//! What a visitor fetches, in bytes as a host sends them (gzip -9), file by file, and what fills the wasm files.
//!
//! Usage: node sizes.js SITE

import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";

/** Most kilobytes of each group: what the project promises. */
const LIMITS = {
  "first load": 600,
  "of it our JavaScript and CSS": 40,
  "WebGPU engine": 3300,
};
/** Sections of a wasm file by their number, as far as they take space. */
const SECTIONS = { 0: "custom", 1: "types", 3: "functions", 7: "exports", 9: "elements", 10: "code", 11: "data" };

const [site] = process.argv.slice(2);
const names = (await readdir(site, { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => path.relative(site, path.join(entry.parentPath ?? entry.path, entry.name)))
  .filter((name) => !name.startsWith("policies"))
  .sort();
const files = await Promise.all(
  names.map(async (name) => {
    const bytes = await readFile(path.join(site, name));
    return { name, bytes, gzip: gzipSync(bytes, { level: 9 }).length };
  }),
);
for (const { name, bytes, gzip } of files) {
  console.log(`${kilobytes(gzip)} kB gzip ${kilobytes(bytes.length)} kB  ${name}${sections(name, bytes)}`);
}
const isGpu = ({ name }) => name.startsWith("engine-gpu");
const isText = ({ name }) => /\.(js|css)$/.test(name);
const groups = {
  "first load": files.filter((file) => !isGpu(file)),
  "of it our JavaScript and CSS": files.filter((file) => !isGpu(file) && isText(file)),
  "WebGPU engine": files.filter(isGpu),
};
let tooLarge = false;
for (const [group, members] of Object.entries(groups)) {
  const size = members.reduce((sum, file) => sum + file.gzip, 0) / 1000;
  tooLarge ||= size > LIMITS[group];
  console.log(`${group}: ${size.toFixed(1)} kB gzip, at most ${LIMITS[group]}`);
}
process.exitCode = tooLarge ? 1 : 0;

function kilobytes(bytes) {
  return (bytes / 1000).toFixed(1).padStart(8);
}

/** The sections of a wasm file that take at least a hundredth of it, with their compressed sizes. */
function sections(name, bytes) {
  if (!name.endsWith(".wasm")) {
    return "";
  }
  const parts = [];
  for (let at = 8; at < bytes.length; ) {
    const kind = bytes[at];
    let length = 0;
    let shift = 0;
    do {
      at += 1;
      length += (bytes[at] & 0x7f) * 2 ** shift;
      shift += 7;
    } while (bytes[at] & 0x80);
    at += 1;
    if (length > bytes.length / 100) {
      const gzip = gzipSync(bytes.subarray(at, at + length), { level: 9 }).length;
      parts.push(`${SECTIONS[kind] ?? kind} ${(gzip / 1000).toFixed(1)}`);
    }
    at += length;
  }
  return ` (${parts.join(", ")})`;
}
