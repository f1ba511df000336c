// Line charts in SVG. A chart is drawn at the size of its container, so that text is not scaled.
import { el, setText, svg, textScale } from "./dom.js";
import { faultTimes } from "./fault-times.js";

const MARGIN = { top: 10, right: 8, bottom: 26, left: 58 };
const DEFAULT_CHART_HEIGHT = 190;
const SPARKLINE_HEIGHT = 84;
const MINUTE_MS = 60_000;

const linearScale = (max, height) => ({
  y: (value) => height - (Math.min(value, max) / max) * height,
  ticks: [0, max / 2, max],
});

/** Small and large latencies are readable on the same axis. */
const logarithmicScale = (min, max, height) => {
  const [low, high] = [Math.log10(min), Math.log10(max)];
  return {
    y: (value) =>
      height - ((Math.log10(Math.max(value, min)) - low) / (high - low)) * height,
    ticks: Array.from({ length: Math.round(high - low) + 1 }, (_, i) => 10 ** (low + i)),
  };
};

/** The next larger 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= value * 0.999);
}

/** The path of a line through `[time, value]` points. A value of null is a gap. */
function linePath(points, x, y) {
  let isOpen = false;
  return points.map(([at, value]) => {
    if (value === null) {
      isOpen = false;
      return "";
    }
    const command = `${isOpen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    // Shows a single point between two gaps as a dot.
    const dot = isOpen ? "" : "h.01";
    isOpen = true;
    return command + dot;
  }).join("");
}

/** The path of the area between the line and `bottom`. */
function areaPath(points, x, y, bottom) {
  const segments = [[]];
  for (const { at, value } of points) {
    if (value === null) segments.push([]);
    else segments.at(-1).push([at, value]);
  }
  return segments.filter((segment) => segment.length > 1).map((segment) => {
    const line = linePath(segment, x, y).replace("h.01", "");
    const [left, right] = [segment[0], segment.at(-1)].map(([at]) => x(at).toFixed(1));
    return `${line}L${right} ${bottom}L${left} ${bottom}Z`;
  }).join("");
}

/** Calls `draw(width, textScale)` whenever the width of `container` changes. Returns a redraw. */
function drawToFit(container, draw) {
  let width = 0;
  const redraw = () => width && draw(width, textScale());
  new ResizeObserver(([entry]) => {
    width = Math.round(entry.contentRect.width);
    redraw();
  }).observe(container);
  return redraw;
}

/** Where charts have a fixed area, the style sheet sets their height. */
const chartHeight = (figure) =>
  Number(getComputedStyle(figure).getPropertyValue("--chart-height")) || DEFAULT_CHART_HEIGHT;

function legendEntry({ name, style }, reading) {
  const swatch = svg("svg", {
    class: `legend-swatch ${style}`,
    viewBox: "0 0 24 8",
    "aria-hidden": "true",
  }, svg("path", { d: "M1 4H23" }));
  return el("li", {}, swatch, name, reading);
}

/**
 * Creates a chart with axes, a legend and a cursor. `series` holds the name and the class of each
 * line. The returned function draws `{ at, values }` points, oldest first, and takes the summary
 * that screen readers announce.
 */
export function lineChart(figure, { series, format, spanMs, range, threshold }) {
  const readings = series.map(() => el("b", { text: "–" }));
  const readingAge = el("span");
  const legend = el("ul", { class: "legend" },
    ...series.map((line, i) => legendEntry(line, readings[i])));
  const canvas = svg("svg", { role: "img" });
  figure.replaceChildren(canvas, el("figcaption", {}, legend, readingAge));
  let points = [];
  let geometry;

  const redraw = drawToFit(figure, (width, unit) => {
    const height = chartHeight(figure) * unit;
    const margin = Object.fromEntries(
      Object.entries(MARGIN).map(([side, size]) => [side, size * unit]));
    const inner = {
      width: width - margin.left - margin.right,
      height: height - margin.top - margin.bottom,
    };
    const now = points.at(-1)?.at ?? Date.now();
    // The time axis grows with the history, up to the full span.
    const age = now - (points[0]?.at ?? now);
    const minutes = Math.max(1, Math.min(spanMs / MINUTE_MS, Math.ceil(age / MINUTE_MS)));
    const values = points.flatMap((point) => point.values).filter((value) => value !== null);
    const scale = range
      ? logarithmicScale(...range, inner.height)
      : linearScale(roundUp(Math.max(1, ...values)), inner.height);
    const x = (at) => inner.width - ((now - at) / (minutes * MINUTE_MS)) * inner.width;
    geometry = { x, y: scale.y, margin, inner };
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.replaceChildren(svg("g", { transform: `translate(${margin.left} ${margin.top})` },
      ...faultBands(x, now - minutes * MINUTE_MS, now, inner.height),
      ...valueAxis(scale, format, inner, unit),
      threshold && thresholdLine(scale.y(threshold), inner.width),
      ...timeAxis(minutes, inner, unit),
      ...series.map(({ style }, i) => svg("path", {
        class: `chart-line ${style}`,
        d: linePath(points.map((point) => [point.at, point.values[i]]), x, scale.y),
      })),
      svg("path", { class: "chart-cursor" }),
      ...series.map(({ style }) =>
        svg("circle", { class: `chart-dot ${style}`, r: 4 * unit, visibility: "hidden" })),
    ));
    showReadings(points.at(-1));
  });

  function showReadings(point, isPast = false) {
    readings.forEach((reading, i) => setText(reading, format(point?.values[i] ?? null)));
    const seconds = isPast ? Math.round((points.at(-1).at - point.at) / 1000) : 0;
    setText(readingAge, isPast ? `${seconds} s ago` : "");
  }

  canvas.addEventListener("pointermove", (event) => {
    if (!points.length) return;
    const pointerX = event.offsetX - geometry.margin.left;
    const distance = (point) => Math.abs(geometry.x(point.at) - pointerX);
    const nearest = points.reduce((best, point) =>
      (distance(point) < distance(best) ? point : best));
    const cursorX = geometry.x(nearest.at).toFixed(1);
    canvas.querySelector(".chart-cursor").setAttribute("d",
      `M${cursorX} 0V${geometry.inner.height}`);
    canvas.querySelectorAll(".chart-dot").forEach((dot, i) => {
      const value = nearest.values[i];
      dot.setAttribute("visibility", value === null ? "hidden" : "visible");
      dot.setAttribute("cx", cursorX);
      if (value !== null) dot.setAttribute("cy", geometry.y(value).toFixed(1));
    });
    showReadings(nearest, nearest !== points.at(-1));
  });
  canvas.addEventListener("pointerleave", () => {
    canvas.querySelector(".chart-cursor")?.removeAttribute("d");
    canvas.querySelectorAll(".chart-dot").forEach((dot) =>
      dot.setAttribute("visibility", "hidden"));
    showReadings(points.at(-1));
  });

  return (newPoints, summary) => {
    points = newPoints;
    canvas.setAttribute("aria-label", summary);
    redraw();
  };
}

const valueAxis = (scale, format, inner, unit) => scale.ticks.flatMap((tick) => [
  svg("path", { class: "chart-grid", d: `M0 ${scale.y(tick).toFixed(1)}H${inner.width}` }),
  svg("text", {
    class: "chart-tick",
    x: -8 * unit,
    y: scale.y(tick) + 4 * unit,
    "text-anchor": "end",
    text: format(tick),
  }),
]);

const timeAxis = (minutes, inner, unit) => [
  [0, `${minutes} min ago`, "start"],
  [0.5, `${minutes / 2} min`, "middle"],
  [1, "now", "end"],
].map(([share, text, anchor]) => svg("text", {
  class: "chart-tick",
  x: share * inner.width,
  y: inner.height + 19 * unit,
  "text-anchor": anchor,
  text,
}));

const faultBands = (x, start, end, height) => faultTimes(start, end).map(({ from, to }) => {
  const left = Math.max(0, x(from));
  return svg("rect", { class: "fault-band", x: left, width: x(to) - left, height },
    svg("title", { text: "The gremlin injected a fault." }));
});

const thresholdLine = (y, width) =>
  svg("path", { class: "chart-threshold", d: `M0 ${y.toFixed(1)}H${width}` });

/** Creates a line without axes. The part above the threshold is drawn in the failure colour. */
export function sparkline(figure, { spanMs, threshold, label }) {
  const canvas = svg("svg", { role: "img" });
  figure.replaceChildren(canvas, el("figcaption", {},
    el("span", { text: `${spanMs / MINUTE_MS} min ago` }),
    el("span", { text: "now" })));
  let points = [];
  const redraw = drawToFit(figure, (width, unit) => {
    const height = SPARKLINE_HEIGHT * unit;
    const [top, bottom] = [6, height - 2];
    const now = points.at(-1)?.at ?? Date.now();
    const max = Math.max(threshold * 1.5, ...points.map((point) => point.value ?? 0)) * 1.05;
    const x = (at) => width - 3 - ((now - at) / spanMs) * (width - 6);
    const y = (value) => bottom - (value / max) * (bottom - top);
    const limit = y(threshold);
    const line = linePath(points.map(({ at, value }) => [at, value]), x, y);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.replaceChildren(
      clipPath("sparkline-above", { width, height: limit }),
      clipPath("sparkline-below", { y: limit, width, height: height - limit }),
      svg("rect", { class: "sparkline-over-threshold", width, height: limit, rx: 4 }),
      thresholdLine(limit, width),
      svg("path", { class: "sparkline-area", d: areaPath(points, x, y, bottom) }),
      sparklinePart("good", "below", line),
      sparklinePart("bad", "above", line),
      svg("text", { class: "chart-tick threshold-label", x: 4, y: limit - 5, text: label }),
    );
  });
  return (newPoints, summary) => {
    points = newPoints;
    canvas.setAttribute("aria-label", summary);
    redraw();
  };
}

const clipPath = (id, size) => svg("clipPath", { id }, svg("rect", size));

const sparklinePart = (tone, side, line) => svg("path", {
  class: `chart-line sparkline-${tone}`,
  "clip-path": `url(#sparkline-${side})`,
  d: line,
});
