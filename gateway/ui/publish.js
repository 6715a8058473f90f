// Publish a video, and wait until queries see it.
import { $, busy, call, element } from "./api.js";

function eventOf(form) {
  const data = new FormData(form);
  const event = { id: data.get("id").trim(), title: data.get("title") };
  if (data.get("asr_text")) event.asr_text = data.get("asr_text");
  if (data.get("category_id")) event.category_id = Number(data.get("category_id"));
  const tags = data.get("tag_ids").split(/[\s,]+/).filter(Boolean).map(Number);
  if (tags.length > 0) event.tag_ids = tags;
  if (data.get("thumbnail_url")) event.thumbnail_url = data.get("thumbnail_url");
  return event;
}

function publish(form) {
  return busy(form.querySelector("button"), $("publish-message"), async () => {
    const event = eventOf(form);
    const { sequence } = await call("POST", "/v1/videos", event);
    $("published").textContent = `Published as event ${sequence}; waiting for the index…`;
    const state = await call("GET", `/v1/videos/${encodeURIComponent(event.id)}?min_sequence=${sequence}&wait_ms=10000`);
    $("published").replaceChildren(`Event ${sequence}: ${state.state}${state.reason ? ", " + state.reason : ""}. `);
    if (state.state === "indexed") {
      $("published").append(element("a", { href: "#/search?" + new URLSearchParams({ id: event.id }), textContent: "See what is like it" }));
    }
  });
}

export function start() {
  $("publish").addEventListener("submit", (e) => { e.preventDefault(); publish(e.target); });
}

export function open() {}
