// How alike are these two?
import { $, busy, element, explanation, video } from "./api.js";
import { card, explained } from "./cards.js";

function compare() {
  const a = $("compare-a").value.trim(), b = $("compare-b").value.trim();
  return busy($("compare").querySelector("button"), $("compare-message"), async () => {
    $("compare-body").replaceChildren();
    const [why, first, second] = await Promise.all([explanation(a, b), video(a), video(b)]);
    history.replaceState(null, "", "#/compare?" + new URLSearchParams({ a, b }));
    $("compare-body").replaceChildren(
      element("div", { className: "pair" }, card("div", first || { id: a }, []), card("div", second || { id: b }, [])),
      element("div", { className: "panel" }, ...explained(why)));
    $("compare-body").focus({ preventScroll: true });
  });
}

export function start() {
  $("compare").addEventListener("submit", (e) => { e.preventDefault(); compare(); });
}

export function open(params) {
  for (const name of ["a", "b"]) if (params.get(name)) $("compare-" + name).value = params.get(name);
  if (params.get("a") && params.get("b")) return compare();
  $(params.get("a") ? "compare-b" : "compare-a").focus({ preventScroll: true });
}
