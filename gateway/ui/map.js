// The index from above.
import { $, call, go, hue, turn } from "./api.js";
import { scatter } from "./plot.js";

let chosen = null;

const openVideo = (p) => p && go("search", { id: p.id });

function draw() {
  return turn($("page-map"), $("map-message"), async (signal) => {
    const answer = await call("GET", "/v1/map?sample=" + $("map-sample").value, undefined, signal);
    const enough = answer.points.length >= 3;
    chosen = null;
    $("map-search").disabled = true;
    $("map-plot").parentElement.hidden = !enough;
    const percent = (share) => Math.round(share * 100) + " %";
    $("map-caption").textContent = enough
      ? `${answer.points.length} videos; across shows ${percent(answer.explained[0])} of the differences, up and down ${percent(answer.explained[1])}.`
      : "A map takes at least three videos in the index.";
    if (!enough) return;
    const range = (name) => { // the middle 99 %, so that one stray video does not press the others together
      const all = answer.points.map((p) => p[name]).sort((a, b) => a - b), cut = Math.floor(all.length / 200);
      return [all[cut], all[all.length - 1 - cut]];
    };
    const [x, y] = [range("x"), range("y")];
    const within = (value, [low, high]) => Math.min(high, Math.max(low, value));
    scatter($("map-plot"), answer.points.map((p) => ({ ...p, x: within(p.x, x), y: within(p.y, y), hue: hue(p.category_id) })), {
      x, y, caption: $("map-caption"), opened: openVideo,
      describe: (p) => `${p.title || p.id} · category ${p.category_id}`,
      picked: (p) => {
        chosen = p;
        $("map-search").disabled = false;
      },
    });
  });
}

export function start() {
  $("map-sample").addEventListener("change", draw);
  $("map-search").addEventListener("click", () => openVideo(chosen));
}

export const open = draw;
