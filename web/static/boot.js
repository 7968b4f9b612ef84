// Starts the page, and where it cannot start or stops, says what the visitor can do.
const words = {
  en: {
    wasm: "This browser cannot run the page: WebAssembly with SIMD is missing or off. Open it in a current Chrome, Edge, Firefox or Safari.",
    load: "Part of the page did not load. Check the connection, then load the page again.",
    stop: "The page stopped because of a defect. Load it again; your ratings are kept.",
    again: "Load again",
  },
  zh: {
    wasm: "此浏览器无法运行本页面：缺少带 SIMD 的 WebAssembly。请使用新版 Chrome、Edge、Firefox 或 Safari 打开。",
    load: "页面的一部分没有加载成功。请检查网络连接，然后重新加载页面。",
    stop: "页面因缺陷停止了。请重新加载；您的评分已保存。",
    again: "重新加载",
  },
};

// A module with one SIMD instruction.
const simd = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 23, 1, 21, 0, 253, 12,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 11,
]);

function complain(cause, error) {
  console.error(error);
  const language = document.documentElement.lang || "en";
  const text = words[language.startsWith("zh") ? "zh" : "en"];
  const trouble = document.getElementById("trouble");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text.again;
  button.addEventListener("click", () => location.reload());
  trouble.replaceChildren(text[cause], " ", button);
  trouble.hidden = false;
  document.getElementById("starting")?.remove();
}

// Panics of the page end as traps.
const stopped = (error) => error instanceof WebAssembly.RuntimeError && complain("stop", error);
addEventListener("error", (event) => stopped(event.error));
addEventListener("unhandledrejection", (event) => stopped(event.reason));

async function start() {
  if (navigator.language?.startsWith("zh")) {
    document.documentElement.lang = "zh";
  }
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(simd)) {
    return complain("wasm", "no WebAssembly with SIMD");
  }
  try {
    const { default: run } = await import("./page.js");
    await run();
  } catch (error) {
    complain(error instanceof WebAssembly.CompileError ? "wasm" : "load", error);
  }
}

start();
