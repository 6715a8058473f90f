// What every part of the page needs: elements, calls, and how they fail.
// Whatever comes from an answer is set as text, never as markup.

export const $ = (id) => document.getElementById(id);

// element makes <tag> with properties and children.
export function element(tag, properties = {}, ...children) {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
}

// Problem is an answer that failed.
export class Problem extends Error {
  constructor(body, status) {
    super(body.detail || body.title || "status " + status);
    this.status = status;
  }
}

const storedKey = "videosim-key";

// setKey keeps the API key until the tab closes; "" forgets it.
export function setKey(key) {
  if (key) sessionStorage.setItem(storedKey, key);
  else sessionStorage.removeItem(storedKey);
  $("key-button").textContent = key ? "API key set" : "API key";
}

export const hasKey = () => sessionStorage.getItem(storedKey) !== null;

// askKey opens the dialog for the key, and says why.
export function askKey(why = "") {
  $("key-message").textContent = why;
  $("key-forget").hidden = !hasKey();
  if (!$("key-dialog").open) $("key-dialog").showModal(); // two calls may fail together
}

// call asks the gateway; a 401 asks for the key. A string or a file goes out
// as lines of pairs, anything else as JSON.
export async function call(method, path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(storedKey);
  if (key) headers.Authorization = "Bearer " + key;
  const lines = body instanceof Blob;
  if (body) headers["Content-Type"] = lines ? "text/tab-separated-values" : "application/json";
  const response = await fetch(path, { method, headers, signal, body: body && !lines ? JSON.stringify(body) : body }).catch((e) => {
    if (e.name === "AbortError") throw e;
    throw new Error(lines ? "The gateway does not answer, or the file has changed since it was chosen." : "The gateway does not answer.");
  });
  const answer = await response.json().catch((e) => {
    if (e.name === "AbortError") throw e;
    return {};
  });
  if (!response.ok) {
    if (response.status === 401) askKey(key ? "The gateway does not know this key." : "This gateway asks for a key.");
    throw new Problem(answer, response.status);
  }
  if (answer.model) $("status").textContent = `model ${answer.model} · ${answer.indexed_sequence.toLocaleString("en")} events seen`;
  return answer;
}

const turns = new Map(); // what is at work, a region of the page each

// turn does the work of a region, which shows that it is busy; what was at
// work there is given up, so that a late answer never overwrites a newer one.
// A failure shows in where.
export async function turn(region, where, work) {
  turns.get(region)?.abort();
  const stop = new AbortController();
  turns.set(region, stop);
  region.setAttribute("aria-busy", "true");
  where.textContent = "";
  try {
    await work(stop.signal);
  } catch (e) {
    if (!stop.signal.aborted) where.textContent = e.message;
  } finally {
    if (turns.get(region) === stop) region.removeAttribute("aria-busy");
  }
}

// video asks for one video's fields; null where nobody has it.
export async function video(id, signal) {
  try {
    return await call("GET", `/v1/videos/${encodeURIComponent(id)}`, undefined, signal);
  } catch (e) {
    if (e.status === 404) return null;
    throw e;
  }
}

export function explanation(a, b, signal) {
  return call("GET", `/v1/videos/${encodeURIComponent(a)}/explain/${encodeURIComponent(b)}?modalities=true`, undefined, signal);
}

export function address(page, params = {}) {
  const query = new URLSearchParams(params).toString();
  return "#/" + page + (query ? "?" + query : "");
}

// go opens a part of the page: go("search", {id: "v1"}). What is asked is in
// the address, so the way back and a bookmark lead to it; the same again asks
// again.
export function go(page, params) {
  const to = address(page, params);
  if (location.hash === to) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = to;
}

// hue gives a number, such as a category, a colour of its own.
export const hue = (n) => Math.round((Number(n) * 137.508) % 360);
