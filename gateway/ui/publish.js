// Publish a video, and wait until queries see it.
import { $, address, call, element, turn } from "./api.js";

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

const rounds = 24; // of waiting, five seconds each

function publish(form) {
  return turn($("page-publish"), $("publish-message"), async (signal) => {
    const event = eventOf(form), say = $("published");
    say.textContent = "";
    const { sequence } = await call("POST", "/v1/videos", event, signal);
    say.textContent = `Published as event ${sequence}; waiting for the index…`;
    const state = await settled(event.id, sequence, signal);
    if (state === null) {
      say.textContent = `Published as event ${sequence}. The index has not come to it in two minutes; it will, and the search by id tells when.`;
      return;
    }
    say.replaceChildren(`Event ${sequence}: ${state.state}${state.reason ? ", " + state.reason : ""}. `);
    if (state.state === "indexed") say.append(element("a", { href: address("search", { id: event.id }), textContent: "See what is like it" }));
  });
}

// settled is the state of a video once the index has seen the event; null
// where that takes too long.
async function settled(id, sequence, signal) {
  for (let i = 0; i < rounds; i++) {
    try {
      return await call("GET", `/v1/videos/${encodeURIComponent(id)}?min_sequence=${sequence}&wait_ms=5000`, undefined, signal);
    } catch (e) {
      if (e.status !== 504) throw e;
    }
  }
  return null;
}

export function start() {
  $("publish").addEventListener("submit", (e) => { e.preventDefault(); publish(e.target); });
}

export function open() {}
