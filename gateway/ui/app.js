// The page of the gateway. Everything that comes from an answer is set as
// text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);

// element makes <tag class="…"> with properties and children.
function element(tag, properties = {}, ...children) {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
}

// problem is an answer that failed.
class Problem extends Error {
  constructor(body, status) {
    super(body.detail || body.title || "status " + status);
    this.status = status;
  }
}

// call asks the gateway; a 401 asks for the key.
async function call(method, path, body) {
  const headers = {};
  const key = sessionStorage.getItem("videosim-key");
  if (key) headers.Authorization = "Bearer " + key;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) {
    if (response.status === 401) $("key-dialog").showModal();
    throw new Problem(answer, response.status);
  }
  if (answer.model) $("status").textContent = `model ${answer.model} · index has seen event ${answer.indexed_sequence}`;
  return answer;
}

// busy keeps a form's button down while its work runs, and shows what fails.
async function busy(button, where, work) {
  button.disabled = true;
  where.textContent = "";
  try {
    await work();
  } catch (e) {
    where.textContent = e.message;
  } finally {
    button.disabled = false;
  }
}

// The search that is on the page: its request, and the id it is about, if any.
let shown = { request: null, id: null };

function searchRequest(form) {
  const data = new FormData(form);
  const number = (name) => (data.get(name) === "" ? undefined : Number(data.get(name)));
  const q = data.get("q").trim();
  const id = data.get("mode") === "id" ? q : null;
  const filter = {};
  if (number("category") !== undefined) filter.category_ids = [number("category")];
  if (number("tag") !== undefined) filter.tag_ids = [number("tag")];
  return {
    id,
    request: {
      positive: [id === null ? { video: { title: q } } : { id }],
      k: number("k"), min_score: number("min_score"), diversity: number("diversity"), filter,
    },
  };
}

async function search(button) {
  await busy(button, $("message"), async () => {
    const next = searchRequest($("search"));
    $("results").replaceChildren();
    $("more").hidden = true;
    const answer = await call("POST", "/v1/similar", next.request);
    shown = next;
    show(answer);
    history.replaceState(null, "", "#" + new URLSearchParams(next.id === null ? { text: next.request.positive[0].video.title } : { id: next.id }));
    if (answer.results.length === 0) $("message").textContent = "Nothing found.";
    const cut = answer.inputs.filter((i) => i.tokens_cut > 0 || i.title_tokens_cut > 0);
    if (cut.length > 0) $("message").textContent = "The text was longer than the models read; its end was cut.";
    $("results").focus({ preventScroll: true });
  });
}

function show(answer) {
  $("results").append(...answer.results.map(card));
  $("more").hidden = !answer.next_page_token;
  $("more").dataset.token = answer.next_page_token || "";
}

function card(r) {
  const published = r.published_at ? new Date(r.published_at).toLocaleDateString() : "";
  const meta = [r.id, "category " + r.category_id, r.tag_ids.length ? "tags " + r.tag_ids.join(", ") : "", published];
  const actions = element("div", { className: "actions" },
    element("button", { type: "button", textContent: "Similar to this", onclick: () => searchFor(r.id) }));
  if (shown.id !== null) {
    actions.append(element("button", { type: "button", textContent: "Why?", onclick: () => explain(shown.id, r.id) }));
  }
  return element("li", { className: "result" },
    thumbnail(r),
    element("div", {},
      element("div", { className: "title", textContent: r.title || r.id }),
      element("div", { className: "meta", textContent: meta.filter(Boolean).join(" · ") }),
      element("div", { className: "score", title: "cosine " + r.cosine.toFixed(4) },
        bar(r.score, "score"), element("span", { textContent: r.score.toFixed(3) }))),
    actions);
}

function thumbnail(r) {
  const none = element("div", { className: "thumb", textContent: "▶", ariaHidden: "true" });
  if (!r.thumbnail_url) return none;
  const image = element("img", { className: "thumb", src: r.thumbnail_url, alt: "", loading: "lazy", referrerPolicy: "no-referrer" });
  image.onerror = () => image.replaceWith(none);
  return image;
}

function bar(value, name) {
  return element("meter", { min: 0, max: 1, value: Math.max(0, value), ariaLabel: name });
}

function searchFor(id) { fillAndSearch("id", id); }

function fillAndSearch(mode, q) {
  const form = $("search");
  form.mode.value = mode;
  form.q.value = q;
  changeMode();
  form.requestSubmit();
}

// searchAddress runs the search that the page's address names: #id=… or #text=….
function searchAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const mode of ["id", "text"]) {
    if (asked.get(mode)) return fillAndSearch(mode, asked.get(mode));
  }
}

// explain shows how a cosine splits.
async function explain(a, b) {
  $("explain-body").replaceChildren("…");
  $("explain").showModal();
  try {
    const path = `/v1/videos/${encodeURIComponent(a)}/explain/${encodeURIComponent(b)}`;
    const e = await call("GET", path);
    const rows = [["late fusion", e.late], ["early fusion", e.early], ["across the two", e.cross]];
    $("explain-body").replaceChildren(
      element("p", { className: "meta", textContent: `${a} and ${b}` }),
      element("table", {}, element("tbody", {},
        ...rows.map(([name, value]) => row(name, value)),
        Object.assign(row("cosine", e.cosine), { className: "sum" }),
        row("score", e.score))),
      element("p", { className: "meta", textContent: "The first three add up to the cosine." }),
      element("p", { className: "meta", textContent: `${a} has ${e.a.modalities.join(", ") || "nothing"}; ${b} has ${e.b.modalities.join(", ") || "nothing"}.` }));
  } catch (e) {
    $("explain-body").replaceChildren(e.message);
  }
}

function row(name, value) {
  return element("tr", {}, element("th", { scope: "row", textContent: name }),
    element("td", { textContent: value.toFixed(4) }), element("td", {}, bar(value, name)));
}

function changeMode() {
  const byId = $("search").mode.value === "id";
  const label = byId ? "Id of a video" : "Title, as a viewer would read it";
  $("q").placeholder = $("q-label").textContent = label;
}

// publish sends an event and waits until queries see it.
async function publish(form) {
  const data = new FormData(form);
  const event = { id: data.get("id").trim(), title: data.get("title"), asr_text: data.get("asr_text") };
  if (data.get("category_id")) event.category_id = Number(data.get("category_id"));
  const tags = data.get("tag_ids").split(/[\s,]+/).filter(Boolean).map(Number);
  if (tags.length > 0) event.tag_ids = tags;
  if (data.get("thumbnail_url")) event.thumbnail_url = data.get("thumbnail_url");
  const { sequence } = await call("POST", "/v1/videos", event);
  $("published").textContent = `Published as event ${sequence}; waiting for the index…`;
  const state = await call("GET", `/v1/videos/${encodeURIComponent(event.id)}?min_sequence=${sequence}&wait_ms=10000`);
  $("published").textContent = `Event ${sequence}: ${state.state}${state.reason ? ", " + state.reason : ""}.`;
  if (state.state === "indexed") searchFor(event.id);
}

document.addEventListener("DOMContentLoaded", () => {
  $("search").addEventListener("submit", (e) => { e.preventDefault(); search(e.submitter || $("search").querySelector("button")); });
  $("search").addEventListener("change", (e) => { if (e.target.name === "mode") changeMode(); });
  $("more").addEventListener("click", () => busy($("more"), $("message"), async () => {
    show(await call("POST", "/v1/similar", { ...shown.request, page_token: $("more").dataset.token }));
  }));
  $("publish").addEventListener("submit", (e) => { e.preventDefault(); busy(e.submitter, $("published"), () => publish(e.target)); });
  $("key-button").addEventListener("click", () => $("key-dialog").showModal());
  $("key-form").addEventListener("submit", (e) => {
    e.preventDefault();
    sessionStorage.setItem("videosim-key", $("key").value);
    $("key").value = "";
    $("key-dialog").close();
  });
  changeMode();
  $("status").textContent = "ready";
  searchAddress();
});
