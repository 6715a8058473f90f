// Does the score agree with people?
import { $, call, element, go, turn } from "./api.js";
import { scatter } from "./plot.js";

let chosen = null;

const openPair = (p) => p && go("compare", { a: p.a, b: p.b });
const number = (n) => n.toLocaleString("en");

function evaluate() {
  return turn($("page-evaluate"), $("evaluate-message"), async (signal) => {
    $("evaluate-body").hidden = true;
    const answer = await call("POST", "/v1/evaluations?points=2000", $("label-file").files[0], signal);
    facts(answer);
    $("evaluate-body").hidden = false;
    chosen = null;
    $("evaluate-compare").disabled = true;
    draw(answer.points);
    $("evaluate-facts").focus({ preventScroll: true });
  });
}

function facts(answer) {
  $("evaluate-facts").replaceChildren(...[
    ["Spearman", answer.spearman === null ? "undefined" : answer.spearman.toFixed(4)],
    ["Pairs scored", number(answer.pairs)], ["Not in the index", number(answer.missing)], ["Without a label", number(answer.unlabelled)],
  ].map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
  const ids = answer.missing_ids.slice(0, 5);
  $("evaluate-missing").textContent = ids.length > 0 ? `Not in the index, for instance: ${ids.join(", ")}` : "";
}

function draw(points) {
  $("evaluate-plot").parentElement.hidden = points.length === 0;
  $("evaluate-caption").textContent = points.length > 0 ? `${number(points.length)} pairs shown; on the dashed line score and judgement are equal.` : "No pair to show.";
  // Labels are steps; a little sideways shift keeps equal ones apart.
  scatter($("evaluate-plot"), points.map((p, i) => ({ ...p, x: p.label + (((i * 0.618) % 1) - 0.5) * 0.03, y: p.score })), {
    x: [0, 1], y: [0, 1], axes: ["Judgement of people", "Score"], caption: $("evaluate-caption"), opened: openPair,
    describe: (p) => `${p.a} and ${p.b}: judged ${p.label.toFixed(2)}, scored ${p.score.toFixed(3)}`,
    picked: (p) => {
      chosen = p;
      $("evaluate-compare").disabled = false;
    },
  });
}

export function start() {
  $("evaluate").addEventListener("submit", (e) => { e.preventDefault(); evaluate(); });
  $("evaluate-compare").addEventListener("click", () => openPair(chosen));
}

export function open() {}
