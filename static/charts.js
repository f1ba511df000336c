// Line charts in SVG, drawn at the size they are shown at, so that text stays text.
import { el, setText, svg, textScale } from "./dom.js";

const MARGIN = { top: 10, right: 8, bottom: 26, left: 58 };
const MINUTE_MS = 60_000;

const linear = (top, height) => ({
  y: (value) => height - (Math.min(value, top) / top) * height,
  ticks: [0, top / 2, top],
});

/** A small and a large latency are both to be read. */
const logarithmic = (bottom, top, height) => {
  const [low, high] = [Math.log10(bottom), Math.log10(top)];
  return {
    y: (value) => height - ((Math.log10(Math.max(value, bottom)) - low) / (high - low)) * height,
    ticks: Array.from({ length: Math.round(high - low) + 1 }, (_, i) => 10 ** (low + i)),
  };
};

/** The next round figure: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= value * 0.999);
}

/** Pieces between gaps: what was not measured is not drawn. */
function path(points, x, y) {
  let isOpen = false;
  return points.map(([at, value]) => {
    if (value === null) {
      isOpen = false;
      return "";
    }
    const command = `${isOpen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single point between two gaps is a dot.
    const dot = isOpen ? "" : "h.01";
    isOpen = true;
    return command + dot;
  }).join("");
}

function area(points, x, y, bottom) {
  const runs = [];
  for (const { at, value } of points) {
    if (value === null) runs.push([]);
    else (runs.at(-1) ?? runs[runs.push([]) - 1]).push([at, value]);
  }
  return runs.filter((run) => run.length > 1).map((run) =>
    `${path(run, x, y).replace("h.01", "")}L${x(run.at(-1)[0]).toFixed(1)} ${bottom}L${x(run[0][0]).toFixed(1)} ${bottom}Z`).join("");
}

/** Keeps a drawing as wide as its place; returns what draws it anew. */
function fitted(place, draw) {
  let width = 0;
  const redraw = () => width && draw(width, textScale());
  new ResizeObserver(([entry]) => {
    width = Math.round(entry.contentRect.width);
    redraw();
  }).observe(place);
  return redraw;
}

/**
 * `series`: name and class of each line. `update(points, summary)` takes points `{ at, values }`, oldest first, and a
 * sentence that says what is to be seen.
 */
export function lineChart(figure, { series, format, spanMs, range, threshold, height = 190 }) {
  const readings = series.map(() => el("b", { text: "–" }));
  const moment = el("span", { class: "moment" });
  const legend = el("ul", { class: "legend" }, ...series.map(({ name, style }, i) => el("li", {},
    svg("svg", { class: `swatch ${style}`, viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("path", { d: "M1 4H23" })), name, readings[i])));
  const canvas = svg("svg", { role: "img" });
  figure.replaceChildren(canvas, el("figcaption", {}, legend, moment));
  let points = [];
  let geometry;

  const redraw = fitted(figure, (width, unit) => {
    const margin = Object.fromEntries(Object.entries(MARGIN).map(([side, size]) => [side, size * unit]));
    const inner = { width: width - margin.left - margin.right, height: height * unit - margin.top - margin.bottom };
    const now = points.at(-1)?.at ?? Date.now();
    // Grows with what there is to show.
    const minutes = Math.max(1, Math.min(spanMs / MINUTE_MS, Math.ceil((now - (points[0]?.at ?? now)) / MINUTE_MS)));
    const values = points.flatMap((point) => point.values).filter((value) => value !== null);
    const scale = range ? logarithmic(...range, inner.height) : linear(roundUp(Math.max(1, ...values)), inner.height);
    const x = (at) => inner.width - ((now - at) / (minutes * MINUTE_MS)) * inner.width;
    geometry = { x, margin, inner };
    canvas.setAttribute("viewBox", `0 0 ${width} ${height * unit}`);
    canvas.replaceChildren(svg("g", { transform: `translate(${margin.left} ${margin.top})` },
      ...scale.ticks.flatMap((tick) => [
        svg("path", { class: "grid", d: `M0 ${scale.y(tick).toFixed(1)}H${inner.width}` }),
        svg("text", { class: "tick", x: -8 * unit, y: scale.y(tick) + 4 * unit, "text-anchor": "end", text: format(tick) })]),
      threshold && svg("path", { class: "threshold", d: `M0 ${scale.y(threshold).toFixed(1)}H${inner.width}` }),
      ...[[0, `${minutes} min ago`, "start"], [0.5, `${minutes / 2} min`, "middle"], [1, "now", "end"]].map(([share, text, anchor]) =>
        svg("text", { class: "tick", x: share * inner.width, y: inner.height + 19 * unit, "text-anchor": anchor, text })),
      ...series.map(({ style }, i) => svg("path", { class: `line ${style}`, d: path(points.map((point) => [point.at, point.values[i]]), x, scale.y) })),
      svg("path", { class: "cursor" }),
    ));
    show(points.at(-1));
  });

  function show(point, isPast = false) {
    readings.forEach((reading, i) => setText(reading, format(point?.values[i] ?? null)));
    setText(moment, isPast ? `${Math.round((points.at(-1).at - point.at) / 1000)} s ago` : "");
  }

  canvas.addEventListener("pointermove", (event) => {
    if (!points.length) return;
    const at = event.offsetX - geometry.margin.left;
    const distance = (point) => Math.abs(geometry.x(point.at) - at);
    const nearest = points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
    canvas.querySelector(".cursor").setAttribute("d", `M${geometry.x(nearest.at).toFixed(1)} 0V${geometry.inner.height}`);
    show(nearest, nearest !== points.at(-1));
  });
  canvas.addEventListener("pointerleave", () => {
    canvas.querySelector(".cursor")?.removeAttribute("d");
    show(points.at(-1));
  });

  return (newPoints, summary) => {
    points = newPoints;
    canvas.setAttribute("aria-label", summary);
    redraw();
  };
}

/** A line without axes, but with its threshold: what is above it is drawn as bad. */
export function sparkline(figure, { spanMs, threshold, label, height = 84 }) {
  const canvas = svg("svg", { role: "img" });
  figure.replaceChildren(canvas, el("figcaption", { class: "span" }, el("span", { text: `${spanMs / MINUTE_MS} min ago` }), el("span", { text: "now" })));
  let points = [];
  const redraw = fitted(figure, (width, unit) => {
    const [top, bottom] = [6, height * unit - 2];
    const now = points.at(-1)?.at ?? Date.now();
    const most = Math.max(threshold * 1.5, ...points.map((point) => point.value ?? 0)) * 1.05;
    const x = (at) => width - 3 - ((now - at) / spanMs) * (width - 6);
    const y = (value) => bottom - (value / most) * (bottom - top);
    const limit = y(threshold);
    const line = path(points.map(({ at, value }) => [at, value]), x, y);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height * unit}`);
    canvas.replaceChildren(
      svg("clipPath", { id: "spark-above" }, svg("rect", { width, height: limit })),
      svg("clipPath", { id: "spark-below" }, svg("rect", { y: limit, width, height: height * unit - limit })),
      svg("rect", { class: "above", width, height: limit, rx: 4 }),
      svg("path", { class: "threshold", d: `M0 ${limit.toFixed(1)}H${width}` }),
      svg("path", { class: "spark-area", d: area(points, x, y, bottom) }),
      svg("path", { class: "line spark-good", "clip-path": "url(#spark-below)", d: line }),
      svg("path", { class: "line spark-bad", "clip-path": "url(#spark-above)", d: line }),
      svg("text", { class: "tick on-line", x: 4, y: limit - 5, text: label }),
    );
  });
  return (newPoints, summary) => {
    points = newPoints;
    canvas.setAttribute("aria-label", summary);
    redraw();
  };
}
