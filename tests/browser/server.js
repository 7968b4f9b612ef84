//! A static host for the built page, on a loopback port and below a path as on a real host, with faults that a test can order
//! and a record of what was asked. No isolation headers: the page must not need them.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";

import { Collector } from "./collector.js";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

/** Where the page lies on the host: not at its root, since it must work anywhere. */
const BASE = "/some/path/";

/** Bytes of one write to the connection, small enough that a cut falls where it was ordered. */
const PIECE = 16 * 1024;

export class PageServer {
  /**
   * Serves `folder`, and other folders below the prefixes that `mounts` gives them; files given to `put` come before those of
   * the folders.
   */
  static async start(folder, mounts = {}) {
    const server = new PageServer(folder, mounts);
    await server.listen();
    return server;
  }

  constructor(folder, mounts) {
    this.folder = folder;
    this.mounts = Object.entries(mounts);
    /** Every request in order: method, file below the base, its Range header, status and bytes sent. */
    this.requests = [];
    this.collector = new Collector();
    this.files = new Map();
    this.faults = new Map();
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}${BASE}`;
  }

  /** Begins to answer, on the same port as before if it did already. */
  listen() {
    this.http = http.createServer((request, response) => {
      this.answer(request, response).catch((error) => response.destroy(error));
    });
    return new Promise((done, failed) => {
      this.http.once("error", failed);
      this.http.listen(this.port, "127.0.0.1", () => {
        this.port = this.http.address().port;
        done();
      });
    });
  }

  /** Goes away: connections break, new ones are refused. */
  async close() {
    const closed = new Promise((done) => this.http.close(done));
    this.http.closeAllConnections();
    await closed;
  }

  /** Serves these bytes (or this text) as `file` from now on. */
  put(file, bytes) {
    this.files.set(file, Buffer.from(bytes));
  }

  /** Serves the folder's own file again. */
  restore(file) {
    this.files.delete(file);
  }

  /** The bytes that `file` has at present. */
  async read(file) {
    const [prefix, folder] = this.mounts.find(([prefix]) => file.startsWith(prefix)) ?? ["", this.folder];
    return this.files.get(file) ?? readFile(path.join(folder, file.slice(prefix.length)));
  }

  /**
   * The next `times` requests for `file` go wrong: `{ cut: bytes, until: promise }` sends so many bytes of the body and breaks
   * the connection then, `{ status }` answers with an error, `{ refuse: true }` breaks it at once, `{ wait: promise }` answers only then.
   */
  spoil(file, fault, times = 1) {
    const queue = this.faults.get(file) ?? [];
    queue.push(...Array(times).fill(fault));
    this.faults.set(file, queue);
  }

  /** From now on requests are answered without faults. */
  heal() {
    this.faults.clear();
  }

  /** Requests for `file` so far. */
  asked(file) {
    return this.requests.filter((request) => request.file === file);
  }

  async answer(request, response) {
    const address = new URL(request.url, this.url).pathname;
    if (!address.startsWith(BASE)) {
      this.record(request, address, 404);
      return void response.writeHead(404).end();
    }
    const file = decodeURIComponent(address.slice(BASE.length)) || "index.html";
    if (file === Collector.PATH) {
      return this.collector.answer(request, response);
    }
    if (file === Collector.QUERIES) {
      return this.collector.ask(request, response);
    }
    const entry = this.record(request, file, 0);
    const fault = this.faults.get(file)?.shift() ?? {};
    await fault.wait;
    if (fault.refuse) {
      return void response.destroy();
    }
    if (fault.status) {
      entry.status = fault.status;
      return void response.writeHead(fault.status).end();
    }
    const bytes = await this.read(file).catch(() => undefined);
    if (bytes === undefined) {
      entry.status = 404;
      return void response.writeHead(404).end();
    }
    await send({ request, response, file, bytes, entry, ...fault });
  }

  record(request, file, status) {
    const range = request.headers.range;
    const entry = { method: request.method, file, range, status, bytes: 0 };
    this.requests.push(entry);
    return entry;
  }
}

/** Answers with the bytes or the range of them that was asked for, as far as `cut`. */
async function send({ request, response, file, bytes, entry, cut = Infinity, until }) {
  const tag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
  const headers = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-cache",
    "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream",
    ETag: tag,
  };
  if (request.headers["if-none-match"] === tag) {
    entry.status = 304;
    return void response.writeHead(304, headers).end();
  }
  const range = rangeOf(request.headers, bytes.length, tag);
  if (range === null) {
    entry.status = 416;
    return void response.writeHead(416, { "Content-Range": `bytes */${bytes.length}` }).end();
  }
  const [begin, end] = range ?? [0, bytes.length];
  entry.status = range ? 206 : 200;
  if (range) {
    headers["Content-Range"] = `bytes ${begin}-${end - 1}/${bytes.length}`;
  }
  headers["Content-Length"] = end - begin;
  response.writeHead(entry.status, headers);
  if (request.method === "HEAD") {
    return void response.end();
  }
  for (let at = begin; at < end; ) {
    const next = Math.min(at + PIECE, end, begin + cut);
    await new Promise((written) => response.write(bytes.subarray(at, next), written));
    entry.bytes = next - begin;
    if (next === begin + cut && next < end) {
      // A broken connection also takes away what the browser has received and the page has not read yet.
      await until;
      return void response.destroy();
    }
    at = next;
  }
  response.end();
}

/** `[begin, end)` of a `bytes=a-b` header; undefined where all is wanted, null where there is nothing to give. */
function rangeOf(headers, length, tag) {
  const asked = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  const stale = headers["if-range"] !== undefined && headers["if-range"] !== tag;
  if (asked === null || stale) {
    return undefined;
  }
  const begin = Number(asked[1]);
  const end = asked[2] === "" ? length : Math.min(Number(asked[2]) + 1, length);
  return begin < end ? [begin, end] : null;
}
