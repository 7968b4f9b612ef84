//! Visits: the first, one without a network, one of a new version, one in each language, one on a narrow screen.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";

import { scenario } from "./scenario.js";

const BROKEN = /net::ERR_|Failed to load resource|Failed to fetch/;

scenario("a first visit shows a page that can write", {}, async ({ browser, visitor, page, note }) => {
  await browser.context.addInitScript(() => {
    const look = () => {
      if (document.querySelector("#prompt")) {
        window.interactiveMs = performance.now();
      } else {
        requestAnimationFrame(look);
      }
    };
    look();
  });
  await visitor.arrive();
  await browser.picture("start");
  note(`the prompt stands there after ${Math.round(await page.evaluate("interactiveMs"))} ms`);
  assert.equal(await page.title(), "Kudos");
  await visitor.write();
  assert.ok((await visitor.texts()).every((text) => text.length > 0));
  await browser.picture("written");
});

scenario(
  "after the first visit the page opens, writes and rates without a network",
  { mayComplain: [BROKEN] },
  async ({ visitor }) => {
    await visitor.arrive();
    await visitor.keptForOffline();
    await visitor.goOffline();
    await visitor.reload();
    await visitor.rate("judge-left");
    assert.equal((await visitor.ratings()).length, 1);
  },
);

scenario("a new version is shown, and taken when the visitor wants it", {}, async ({ server, visitor, page }) => {
  await visitor.arrive();
  await visitor.keptForOffline();
  await visitor.rate("judge-tie");
  await publishAnotherStyle(server);
  await visitor.reload();
  await visitor.at("update").waitFor();
  assert.ok(!(await style(page)).includes("another version"), "the old version stays until it is told to go");
  await Promise.all([page.waitForEvent("load"), visitor.at("update").click()]);
  await visitor.ready();
  assert.ok((await style(page)).includes("another version"));
  assert.equal(await visitor.at("update").isVisible(), false);
  assert.equal((await visitor.ratings()).length, 1);
});

scenario("half of a new version is not taken", { mayComplain: [BROKEN] }, async ({ server, visitor, page }) => {
  await visitor.arrive();
  await visitor.keptForOffline();
  await publishAnotherStyle(server);
  server.restore("style.css");
  const tried = page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    const found = new Promise((done) => registration.addEventListener("updatefound", done, { once: true }));
    await registration.update();
    await found;
    const worker = registration.installing;
    await new Promise((done) => {
      const look = () => ["installed", "redundant"].includes(worker.state) && done();
      worker.addEventListener("statechange", look);
      look();
    });
    return worker.state;
  });
  assert.equal(await tried, "redundant");
  assert.equal(await visitor.at("update").isVisible(), false);
});

scenario("the language is the browser's until another is chosen", { locale: "zh-CN" }, async ({ visitor, page }) => {
  await visitor.arrive();
  assert.match(await page.locator("html").getAttribute("lang"), /^zh/);
  assert.match(await visitor.at("write").innerText(), /\p{Script=Han}/u);
  await visitor.at("locale-en").click();
  await page.locator("html[lang=en]").waitFor();
  assert.match(await visitor.at("write").innerText(), /Write/);
  await visitor.reload();
  assert.equal(await page.locator("html").getAttribute("lang"), "en", "the choice is remembered");
  await visitor.rate("judge-left");
  assert.equal((await visitor.ratings())[0].locale, "en");
});

for (const locale of ["en-US", "zh-CN"]) {
  const narrow = { locale, viewport: { width: 320, height: 640 } };
  scenario(`nothing scrolls sideways on a screen of 320 pixels (${locale})`, narrow, async ({ browser, visitor, page }) => {
    const check = async (state) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 320, `${state}: ${width} pixels`);
      await browser.picture(`narrow-${locale}-${state}`);
    };
    await visitor.arrive();
    await check("start");
    await visitor.write();
    await check("written");
    for (const panel of ["settings", "ratings", "help"]) {
      await visitor.open(panel);
      await check(panel);
      await visitor.shut(panel);
    }
    await visitor.at("judge-left").click();
    await visitor.at("consent").waitFor();
    await check("consent");
  });
}

scenario(
  "without WebAssembly the page says what to do",
  { mayComplain: [/no WebAssembly/] },
  async ({ server, browser, visitor, page }) => {
    await browser.context.addInitScript(() => {
      delete window.WebAssembly;
    });
    await page.goto(server.url);
    await visitor.at("trouble").waitFor();
    assert.match(await visitor.at("trouble").innerText(), /in a current Chrome/);
  },
);

scenario(
  "a part of the page that does not load is no blank page",
  { mayComplain: [BROKEN, /wasm|fetch|HTTP/i] },
  async ({ server, visitor, page }) => {
    server.spoil("page_bg.wasm", { status: 503 }, 3);
    await page.goto(server.url);
    await visitor.at("trouble").waitFor();
    assert.match(await visitor.at("trouble").innerText(), /did not load/);
    server.heal();
    await visitor.at("trouble").getByRole("button").click();
    await visitor.ready();
  },
);

scenario("an engine that does not load is named with a remedy", { mayComplain: [BROKEN, /./] }, async ({ server, visitor, page }) => {
  server.spoil("engine-cpu_bg.wasm", { status: 503 }, 9);
  await page.goto(server.url);
  assert.match(await visitor.trouble(), /The engine does not run/);
  server.heal();
  await visitor.at("retry").click();
  await visitor.ready();
});

scenario(
  "where the browser keeps nothing the page says so and works",
  { mayComplain: [/nothing is kept/] },
  async ({ browser, visitor, page }) => {
    await browser.context.addInitScript(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("not here", "SecurityError");
      };
      CacheStorage.prototype.open = () => Promise.reject(new DOMException("not here", "SecurityError"));
    });
    await visitor.arrive();
    await page.getByText("does not let the page keep anything").first().waitFor();
    await visitor.rate("judge-right");
    assert.equal((await visitor.ratings()).length, 1);
  },
);

/** The style sheet as the page gets it. */
function style(page) {
  return page.evaluate(async () => (await fetch("style.css")).text());
}

/** Puts a version with another style sheet on the host, as a new build would. */
async function publishAnotherStyle(server) {
  const css = `${await server.read("style.css")}\n/* another version */\n`;
  const worker = (await server.read("sw.js")).toString("utf8");
  const site = JSON.parse(/^const SITE = (\{.*\});$/m.exec(worker)[1]);
  site.first["style.css"] = createHash("sha256").update(css).digest("hex");
  site.version = `${site.version}-another`;
  server.put("style.css", css);
  server.put("sw.js", worker.replace(/^const SITE = .*$/m, () => `const SITE = ${JSON.stringify(site)};`));
}
