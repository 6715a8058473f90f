// The index from above.
import { $, busy, call, go, hue } from "./api.js";
import { scatter } from "./plot.js";

let chosen = null;

const openVideo = (p) => p && go("search", { id: p.id });

function draw() {
  return busy($("map-sample"), $("map-message"), async () => {
    const answer = await call("GET", "/v1/map?sample=" + $("map-sample").value);
    if (answer.points.length < 3) throw new Error("There are too few videos for a map yet.");
    const percent = (share) => Math.round(share * 100) + " %";
    $("map-caption").textContent = `${answer.points.length} videos; across shows ${percent(answer.explained[0])} of the differences, up and down ${percent(answer.explained[1])}.`;
    const range = (name) => { // the middle 99 %, so that one stray video does not press the others together
      const all = answer.points.map((p) => p[name]).sort((a, b) => a - b), cut = Math.floor(all.length / 200);
      return [all[cut], all[all.length - 1 - cut]];
    };
    const [x, y] = [range("x"), range("y")];
    const within = (value, [low, high]) => Math.min(high, Math.max(low, value));
    scatter($("map-plot"), answer.points.map((p) => ({ ...p, x: within(p.x, x), y: within(p.y, y), hue: hue(p.category_id) })), {
      x, y, opened: openVideo,
      picked: (p) => {
        chosen = p;
        $("map-search").disabled = false;
        $("map-caption").textContent = `${p.title || p.id} · category ${p.category_id}`;
      },
    });
  });
}

export function start() {
  $("map-sample").addEventListener("change", draw);
  $("map-search").addEventListener("click", () => openVideo(chosen));
}

export const open = draw;
