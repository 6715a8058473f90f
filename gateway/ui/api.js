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

// call asks the gateway; a 401 asks for the key. A string or a file goes out
// as lines of pairs, anything else as JSON.
export async function call(method, path, body) {
  const headers = {};
  const key = sessionStorage.getItem("videosim-key");
  if (key) headers.Authorization = "Bearer " + key;
  const lines = body instanceof Blob;
  if (body) headers["Content-Type"] = lines ? "text/tab-separated-values" : "application/json";
  const response = await fetch(path, { method, headers, body: body && !lines ? JSON.stringify(body) : body }).catch(() => {
    throw new Error("The gateway does not answer.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    if (response.status === 401) $("key-dialog").showModal();
    throw new Problem(answer, response.status);
  }
  if (answer.model) $("status").textContent = `model ${answer.model} · ${answer.indexed_sequence.toLocaleString("en")} events seen`;
  return answer;
}

// busy keeps a button down while its work runs, and shows what fails.
export async function busy(button, where, work) {
  if (button) button.disabled = true;
  where.textContent = "";
  document.body.classList.add("busy");
  try {
    await work();
  } catch (e) {
    where.textContent = e.message;
  } finally {
    if (button) button.disabled = false;
    document.body.classList.remove("busy");
  }
}

// video asks for one video's fields; null where nobody has it.
export async function video(id) {
  try {
    return await call("GET", `/v1/videos/${encodeURIComponent(id)}`);
  } catch (e) {
    if (e.status === 404) return null;
    throw e;
  }
}

export function explanation(a, b) {
  return call("GET", `/v1/videos/${encodeURIComponent(a)}/explain/${encodeURIComponent(b)}?modalities=true`);
}

// go opens a part of the page: go("search", {id: "v1"}).
export function go(page, params = {}) {
  const query = new URLSearchParams(params).toString();
  location.hash = "#/" + page + (query ? "?" + query : "");
}

// hue gives a number, such as a category, a colour of its own.
export const hue = (n) => Math.round((Number(n) * 137.508) % 360);
