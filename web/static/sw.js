// Serves the page without a network. `cargo xtask site` fills in SITE: its version, and the SHA-256 of
// each file that is fetched first or later; none where a host may change the file.
const SITE = { version: "", first: {}, later: {} };

// Pages below other paths of the host have caches of their own.
const MINE = `kudos-page ${registration.scope} `;
const CACHE = MINE + SITE.version;
const FILES = new Set([...Object.keys(SITE.first), ...Object.keys(SITE.later)]);

async function digest(answer) {
  const bytes = await crypto.subtle.digest("SHA-256", await answer.arrayBuffer());
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function keep(files) {
  const cache = await caches.open(CACHE);
  const keepOne = async ([path, sha256]) => {
    if (await cache.match(path)) {
      return;
    }
    const answer = await fetch(path, { cache: "no-cache" });
    // Halfway through an upload files of two versions lie there: better none than a mixture.
    if (!answer.ok || (sha256 && (await digest(answer.clone())) !== sha256)) {
      throw new Error(`${path} is not of this version`);
    }
    await cache.put(path, answer);
  };
  await Promise.all(Object.entries(files).map(keepOne));
}

async function install() {
  // Whoever has the GPU engine needs the new one without a network too.
  const later = await Promise.all(Object.keys(SITE.later).map((path) => caches.match(path)));
  await keep({ ...SITE.first, ...(later.some(Boolean) ? SITE.later : {}) });
}

async function activate() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(MINE) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

async function serve(path, request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(path)) ?? fetch(request);
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("message", (event) => {
  if (event.data === "take-over") {
    skipWaiting();
  } else if (event.data === "keep-gpu") {
    event.waitUntil(keep(SITE.later));
  }
});
addEventListener("fetch", (event) => {
  const { method, headers, url } = event.request;
  const address = url.split(/[?#]/)[0];
  if (method !== "GET" || headers.has("range") || !address.startsWith(registration.scope)) {
    return;
  }
  const name = address.slice(registration.scope.length);
  const path = name === "" || name === "index.html" ? "./" : name;
  if (FILES.has(path)) {
    event.respondWith(serve(path, event.request));
  }
});
