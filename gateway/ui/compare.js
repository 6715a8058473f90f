// How alike are these two?
import { $, explanation, element, go, turn, video } from "./api.js";
import { card, explained } from "./cards.js";

function compare(a, b) {
  return turn($("page-compare"), $("compare-message"), async (signal) => {
    $("compare-body").replaceChildren();
    const [why, first, second] = await Promise.all([explanation(a, b, signal), video(a, signal), video(b, signal)]);
    $("compare-body").replaceChildren(
      element("div", { className: "pair" }, card("div", first || { id: a }, []), card("div", second || { id: b }, [])),
      element("div", { className: "panel" }, ...explained(why)));
    $("compare-body").focus({ preventScroll: true });
  });
}

export function start() {
  $("compare").addEventListener("submit", (e) => {
    e.preventDefault();
    go("compare", { a: $("compare-a").value.trim(), b: $("compare-b").value.trim() });
  });
}

export function open(params) {
  for (const name of ["a", "b"]) if (params.has(name)) $("compare-" + name).value = params.get(name);
  if (params.get("a") && params.get("b")) return compare(params.get("a"), params.get("b"));
  $("compare-message").textContent = "";
  $(params.get("a") ? "compare-b" : "compare-a").focus({ preventScroll: true });
}
