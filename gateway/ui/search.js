// Which videos are like this one?
import { $, address, call, element, explanation, go, turn, video } from "./api.js";
import { card, explained, score } from "./cards.js";

// The search that is on the page: its request, and the video it is about, if any.
let shown = { request: null, id: null, title: "" };

const filters = ["k", "min_score", "diversity", "category", "tag", "after", "before"];
const samples = 6; // videos to start from

// paramsOf is the form as the address names it; what is as always is left out.
function paramsOf(form) {
  const params = { [form.mode.value]: form.q.value.trim() };
  for (const name of filters) if (form[name].value !== form[name].defaultValue) params[name] = form[name].value;
  return params;
}

// fillForm is the way back.
function fillForm(form, params) {
  const mode = params.has("text") ? "text" : "id";
  form.mode.value = mode;
  form.q.value = params.get(mode) || "";
  let set = 0;
  for (const name of filters) {
    form[name].value = params.get(name) ?? form[name].defaultValue;
    if (form[name].value !== form[name].defaultValue) set++;
  }
  $("filters").textContent = set > 0 ? `Filters (${set} set)` : "Filters";
  if (set > 0) $("filters").parentElement.open = true;
  changeMode();
}

function requestOf(form) {
  const number = (name) => (form[name].value === "" ? undefined : Number(form[name].value));
  const day = (name) => (form[name].value === "" ? undefined : form[name].value + "T00:00:00Z");
  const list = (name) => (form[name].value === "" ? undefined : [number(name)]);
  const q = form.q.value.trim();
  return {
    positive: [form.mode.value === "id" ? { id: q } : { video: { title: q } }],
    k: number("k"), min_score: number("min_score"), diversity: number("diversity"),
    filter: { category_ids: list("category"), tag_ids: list("tag"), published_after: day("after"), published_before: day("before") },
  };
}

const region = () => $("page-search");

function clear() {
  $("results").replaceChildren();
  $("found").textContent = "";
  for (const id of ["seed", "more", "hint"]) $(id).hidden = true;
}

function search() {
  return turn(region(), $("message"), async (signal) => {
    const form = $("search"), request = requestOf(form), id = form.mode.value === "id" ? form.q.value.trim() : null;
    clear();
    const [answer, seed] = await Promise.all([
      call("POST", "/v1/similar", request, signal).catch((e) => { if (e.status !== 404) throw e; return null; }),
      id === null ? null : video(id, signal)]);
    if (seed) $("seed").replaceChildren(card("div", seed, []));
    $("seed").hidden = !seed;
    if (answer === null) return notIndexed(seed, id);
    shown = { request, id, title: seed?.title || id };
    show(answer);
    if ($("results").contains(document.activeElement) || document.activeElement === document.body || form.contains(document.activeElement)) {
      $("results").focus({ preventScroll: true });
    }
  });
}

// notIndexed says what became of a video that queries do not know.
function notIndexed(seed, id) {
  if (seed) {
    $("message").textContent = `This video is ${seed.state}${seed.reason ? ": " + seed.reason : ""}. Queries know only videos that are indexed.`;
    return;
  }
  $("message").replaceChildren("No video has this id. ", element("a", { href: address("search", { text: id }), textContent: "Search for it as a title" }));
}

function show(answer, before = 0) {
  const cards = answer.results.map((r) => card("li", r, [score(r)], actions(r)));
  $("results").append(...cards);
  $("more").hidden = !answer.next_page_token;
  $("more").dataset.token = answer.next_page_token || "";
  const count = before + cards.length;
  $("found").textContent = count === 0 ? "Nothing is like that and passes the filters." : `${count} ${count === 1 ? "video" : "videos"}, the most alike first.`;
  if (answer.inputs.some((i) => i.tokens_cut > 0 || i.title_tokens_cut > 0)) $("found").append(" The text was longer than the models read; its end was cut.");
  return cards;
}

function more() {
  return turn(region(), $("message"), async (signal) => {
    const before = $("results").children.length;
    const cards = show(await call("POST", "/v1/similar", { ...shown.request, page_token: $("more").dataset.token }, signal), before);
    if (cards.length > 0) {
      cards[0].tabIndex = -1; // where reading goes on
      cards[0].focus({ preventScroll: true });
    }
  });
}

function actions(r) {
  const name = r.title || r.id;
  const button = (textContent, what, onclick) => element("button", { type: "button", className: "quiet", textContent, ariaLabel: `${textContent} ${what}`, onclick });
  return element("div", { className: "actions" },
    button("Similar", "to " + name, () => go("search", { id: r.id })),
    shown.id === null
      ? button("Compare", "with " + name, () => go("compare", { a: r.id }))
      : button("Why?", name, () => why(shown, r)));
}

function why(one, other) {
  $("explain-pair").replaceChildren(element("bdi", { textContent: one.title }), " and ", element("bdi", { textContent: other.title || other.id }));
  $("explain-body").replaceChildren();
  $("explain").showModal();
  return turn($("explain"), $("explain-message"), async (signal) => {
    $("explain-body").replaceChildren(...explained(await explanation(one.id, other.id, signal)),
      element("p", {}, element("a", { href: address("compare", { a: one.id, b: other.id }), textContent: "Compare the two", onclick: () => $("explain").close() })));
  });
}

// suggest offers videos to start from: a few of those on the map.
function suggest() {
  return turn(region(), $("message"), async (signal) => {
    clear();
    const { points } = await call("GET", "/v1/map?sample=500", undefined, signal);
    $("hint").hidden = false;
    $("hint-empty").hidden = points.length > 0;
    $("hint-some").hidden = points.length === 0;
    const some = Array.from({ length: Math.min(samples, points.length) }, (_, i) => points[Math.floor((i * points.length) / samples)] || points[i]);
    $("samples").replaceChildren(...[...new Set(some)].map((p) => element("li", {}, element("a", { className: "sample", href: address("search", { id: p.id }) }, card("div", p, [])))));
  });
}

function changeMode() {
  const byId = $("search").mode.value === "id";
  $("q").placeholder = $("q-label").textContent = byId ? "Id of a video" : "Title, as a viewer would read it";
}

export function start() {
  $("search").addEventListener("submit", (e) => { e.preventDefault(); go("search", paramsOf(e.target)); });
  $("search").addEventListener("change", (e) => { if (e.target.name === "mode") changeMode(); });
  $("more").addEventListener("click", more);
}

// open runs the search that the address names.
export function open(params) {
  fillForm($("search"), params);
  if (params.get("id") || params.get("text")) return search();
  if (matchMedia("(pointer: fine)").matches && !$("search").contains(document.activeElement)) $("q").focus({ preventScroll: true }); // a phone would raise its keyboard
  return suggest();
}
