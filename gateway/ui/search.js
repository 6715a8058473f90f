// Which videos are like this one?
import { $, busy, call, element, explanation, go, video } from "./api.js";
import { card, explained, score } from "./cards.js";

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
    id, q,
    request: {
      positive: [id === null ? { video: { title: q } } : { id }],
      k: number("k"), min_score: number("min_score"), diversity: number("diversity"), filter,
    },
  };
}

function search() {
  return busy($("search").querySelector("button"), $("message"), async () => {
    const next = searchRequest($("search"));
    $("results").replaceChildren();
    $("seed").hidden = $("more").hidden = $("hint").hidden = true;
    const [answer, seed] = await Promise.all([call("POST", "/v1/similar", next.request), next.id === null ? null : video(next.id)]);
    shown = next;
    history.replaceState(null, "", "#/search?" + new URLSearchParams({ [next.id === null ? "text" : "id"]: next.q }));
    $("seed").hidden = seed === null;
    if (seed) $("seed").replaceChildren(card("div", seed, []));
    show(answer);
    $("message").textContent = notes(answer);
    $("results").focus({ preventScroll: true });
  });
}

function notes(answer) {
  if (answer.results.length === 0) return "Nothing found.";
  if (answer.inputs.some((i) => i.tokens_cut > 0 || i.title_tokens_cut > 0)) return "The text was longer than the models read; its end was cut.";
  return "";
}

function show(answer) {
  $("results").append(...answer.results.map((r) => card("li", r, [score(r)], actions(r))));
  $("more").hidden = !answer.next_page_token;
  $("more").dataset.token = answer.next_page_token || "";
}

function actions(r) {
  const out = element("div", { className: "actions" },
    element("button", { type: "button", className: "quiet", textContent: "Similar", onclick: () => go("search", { id: r.id }) }));
  if (shown.id !== null) {
    out.append(element("button", { type: "button", className: "quiet", textContent: "Why?", onclick: () => why(shown.id, r.id) }));
  } else {
    out.append(element("button", { type: "button", className: "quiet", textContent: "Compare", onclick: () => go("compare", { a: r.id }) }));
  }
  return out;
}

async function why(a, b) {
  $("explain-body").replaceChildren(element("p", { className: "caption", textContent: "…" }));
  $("explain").showModal();
  try {
    $("explain-body").replaceChildren(...explained(await explanation(a, b)),
      element("p", {}, element("a", { href: "#/compare?" + new URLSearchParams({ a, b }), textContent: "Compare the two", onclick: () => $("explain").close() })));
  } catch (e) {
    $("explain-body").replaceChildren(element("p", { className: "message", textContent: e.message }));
  }
}

function changeMode() {
  const byId = $("search").mode.value === "id";
  $("q").placeholder = $("q-label").textContent = byId ? "Id of a video" : "Title, as a viewer would read it";
}

export function start() {
  $("search").addEventListener("submit", (e) => { e.preventDefault(); search(); });
  $("search").addEventListener("change", (e) => { if (e.target.name === "mode") changeMode(); });
  $("more").addEventListener("click", () => busy($("more"), $("message"), async () => {
    show(await call("POST", "/v1/similar", { ...shown.request, page_token: $("more").dataset.token }));
  }));
  changeMode();
}

// open runs the search that the address names.
export function open(params) {
  for (const mode of ["id", "text"]) {
    const q = params.get(mode);
    if (!q) continue;
    $("search").mode.value = mode;
    $("q").value = q;
    changeMode();
    return search();
  }
  $("q").focus({ preventScroll: true });
}
