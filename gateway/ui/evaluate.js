// Does the score agree with people?
import { $, busy, call, element, go } from "./api.js";
import { scatter } from "./plot.js";

let chosen = null;

const openPair = (p) => p && go("compare", { a: p.a, b: p.b });

function evaluate() {
  return busy($("evaluate").querySelector("button"), $("evaluate-message"), async () => {
    const answer = await call("POST", "/v1/evaluations?points=2000", $("label-file").files[0]);
    const number = (n) => n.toLocaleString("en");
    $("evaluate-facts").replaceChildren(...[
      ["Spearman", answer.spearman === null ? "undefined" : answer.spearman.toFixed(4)],
      ["Pairs scored", number(answer.pairs)], ["Not in the index", number(answer.missing)], ["Without a label", number(answer.unlabelled)],
    ].map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
    $("evaluate-body").hidden = false;
    $("evaluate-caption").textContent = answer.points.length > 0 ? `${number(answer.points.length)} pairs shown.` : "No pair to show.";
    // Labels are steps; a little sideways shift keeps equal ones apart.
    scatter($("evaluate-plot"), answer.points.map((p, i) => ({ ...p, x: p.label + (((i * 0.618) % 1) - 0.5) * 0.03, y: p.score })), {
      x: [0, 1], y: [0, 1], axes: ["Judgement of people", "Score"], opened: openPair,
      picked: (p) => {
        chosen = p;
        $("evaluate-compare").disabled = false;
        $("evaluate-caption").textContent = `${p.a} and ${p.b}: judged ${p.label.toFixed(2)}, scored ${p.score.toFixed(3)}`;
      },
    });
    $("evaluate-facts").focus({ preventScroll: true });
  });
}

export function start() {
  $("evaluate").addEventListener("submit", (e) => { e.preventDefault(); evaluate(); });
  $("evaluate-compare").addEventListener("click", () => openPair(chosen));
}

export function open() {}
