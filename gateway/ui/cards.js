// Videos as cards, numbers as bars, and the explanation of a score.
import { element, hue } from "./api.js";

const signs = new Intl.Segmenter(); // what people take for one sign: an emoji may be seven characters

// thumbnail is the video's own picture, or the first sign of its title on the
// colour of its category.
export function thumbnail(v) {
  const none = element("div", { className: "thumb", ariaHidden: "true",
    textContent: [...signs.segment((v.title || v.id).trim())][0]?.segment ?? "▶" });
  none.style.setProperty("--hue", hue(v.category_id || 0));
  if (!v.thumbnail_url) return none;
  const image = element("img", { className: "thumb", src: v.thumbnail_url, alt: "", loading: "lazy", referrerPolicy: "no-referrer" });
  image.onerror = () => image.replaceWith(none);
  return image;
}

export function fields(v) {
  const chips = [["id", v.id]];
  if (v.category_id) chips.push(["category", v.category_id]);
  const tags = v.tag_ids || [];
  if (tags.length) chips.push(["tags", tags.slice(0, 4).join(", ") + (tags.length > 4 ? ` +${tags.length - 4}` : "")]);
  if (v.published_at) chips.push(["", new Date(v.published_at).toLocaleDateString("en-CA")]);
  if (v.state && v.state !== "indexed") chips.push(["", v.state]);
  return element("div", { className: "chips" }, ...chips.map(([name, value]) =>
    element("span", { className: "chip" }, ...(name ? [element("b", { textContent: name }), " "] : []), String(value))));
}

export function bar(value, name) {
  return element("meter", { min: 0, max: 1, value: Math.max(0, value), ariaLabel: `${name} ${value.toFixed(3)}` });
}

// card shows a video; right is what stands beside it.
export function card(tag, v, below, right) {
  return element(tag, { className: "result" },
    thumbnail(v),
    element("div", { className: "about" },
      element("h3", { className: "title", dir: "auto", title: v.title || v.id, textContent: v.title || v.id }),
      fields(v), ...below),
    ...(right ? [right] : []));
}

export function score(r) {
  return element("div", { className: "score" },
    bar(r.score, "score"), element("span", { textContent: r.score.toFixed(3) }),
    element("span", { className: "cosine", textContent: "cosine " + r.cosine.toFixed(4) }));
}

// explained is the explanation of a pair's score as people read it.
export function explained(e) {
  const parts = [["late", "Late fusion", e.late], ["early", "Early fusion", e.early], ["cross", "Across the two", e.cross]];
  const out = [
    element("div", { className: "verdict" },
      element("span", { className: "big", textContent: e.score.toFixed(3) }),
      element("span", { className: "caption", textContent: `score, from a cosine of ${e.cosine.toFixed(4)}` })),
    stack(parts),
    element("table", {}, element("tbody", {},
      ...parts.map(([name, label, value]) => row(label, value, name)),
      Object.assign(row("Cosine", e.cosine), { className: "sum" }))),
    element("p", { className: "caption", textContent: "The three terms add up to the cosine." }),
  ];
  const there = [...e.a.modalities, ...e.b.modalities];
  const shares = (e.modalities || []).filter((m) => m.gain !== null && there.includes(m.name));
  if (shares.length > 0) {
    out.push(element("h3", { textContent: "What it rests on" }),
      element("table", {}, element("tbody", {}, ...shares.map((m) =>
        element("tr", {}, element("th", { scope: "row", textContent: m.name }),
          element("td", { textContent: Math.round((m.share || 0) * 100) + " %" }),
          element("td", {}, bar(m.share || 0, m.name)))))),
      element("p", { className: "caption", textContent: "How much of the cosine goes when both videos are embedded without it." }));
  }
  for (const side of [e.a, e.b]) {
    if (side.indexed !== side.sequence || side.reembedded && side.reembedded !== side.sequence) {
      out.push(element("p", { className: "caption", textContent: `${side.id} was edited a moment ago; parts of this are of different versions.` }));
    }
    if (side.modalities.length < 3) {
      out.push(element("p", { className: "caption", textContent: `${side.id} has ${side.modalities.join(" and ") || "nothing"} only.` }));
    }
  }
  return out;
}

// stack draws the terms side by side, each as long as its share of them all.
function stack(parts) {
  const total = parts.reduce((sum, [, , value]) => sum + Math.abs(value), 0) || 1;
  return element("div", { className: "stack", ariaHidden: "true" }, ...parts.map(([name, label, value]) => {
    const part = element("span", { className: "part " + name + (value < 0 ? " negative" : ""), title: label });
    part.style.flexGrow = String(Math.abs(value) / total);
    return part;
  }));
}

function row(label, value, name = "") {
  return element("tr", {}, element("th", { scope: "row" }, element("span", { className: "dot " + name }), label),
    element("td", { textContent: value.toFixed(4) }));
}
