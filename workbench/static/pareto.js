// Draw candidates by score and cost; a point is opened by a click, by Enter or by Space. Arrow keys move between points.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 340;
const BOX = { left: 52, right: 16, top: 12, bottom: 48 };

function drawn(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function marker({ shape, hollow, ring }, x, y) {
  const kind = `shape${hollow ? " hollow" : ""}`;
  const group = drawn("g", { class: shape });
  if (ring) group.append(drawn("circle", { class: "ring", cx: x, cy: y, r: 11 }));
  if (shape === "diamond") group.append(drawn("path", { class: kind, d: `M${x - 8} ${y}L${x} ${y - 8}L${x + 8} ${y}L${x} ${y + 8}Z` }));
  else if (shape === "square") group.append(drawn("rect", { class: kind, x: x - 5, y: y - 5, width: 10, height: 10 }));
  else group.append(drawn("circle", { class: kind, cx: x, cy: y, r: 5.5 }));
  return group;
}

function render({ model, el }) {
  const told = document.createElement("p");
  told.className = "told";
  told.setAttribute("aria-hidden", "true"); // the focused point says the same
  const place = document.createElement("div");
  const names = document.createElement("ol");
  const legend = document.createElement("ul");
  const title = document.createElement("p");
  el.classList.add("workbench-pareto");
  el.append(title, place, told, names, legend);
  let current = "";
  let width = 0;

  const open = (key) => model.send({ open: key });

  function draw() {
    const plot = model.get("plot");
    const points = plot.points ?? [];
    const focused = el.contains(document.activeElement) && document.activeElement.dataset.key;
    title.textContent = plot.title ?? "";
    if (!points.length || width < 120) return [place, told, names, legend].forEach((part) => part.replaceChildren());
    if (!points.some((point) => point.key === current)) current = (points.find((point) => point.shape === "diamond") ?? points[0]).key;
    const across = (value) => BOX.left + value * (width - BOX.left - BOX.right);
    const up = (value) => HEIGHT - BOX.bottom - value * (HEIGHT - BOX.top - BOX.bottom);
    const svg = drawn("svg", { width, height: HEIGHT, role: "group", "aria-label": plot.title });
    for (const [value, words] of plot.yTicks) {
      svg.append(drawn("line", { class: "grid", x1: BOX.left, x2: width - BOX.right, y1: up(value), y2: up(value) }));
      svg.append(drawn("text", { class: "tick", x: BOX.left - 6, y: up(value) + 4, "text-anchor": "end" }, words));
    }
    for (const [value, words] of plot.xTicks) {
      svg.append(drawn("line", { class: "grid", x1: across(value), x2: across(value), y1: up(0), y2: up(0) + 5 }));
      svg.append(drawn("text", { class: "tick", x: across(value), y: up(0) + 19, "text-anchor": "middle" }, words));
    }
    svg.append(drawn("text", { class: "tick", x: across(0.5), y: HEIGHT - 8, "text-anchor": "middle" }, plot.xLabel));
    const front = points.filter((point) => point.front);
    let path = "";
    for (const point of front) path += path ? `H${across(point.x)}V${up(point.y)}` : `M${across(point.x)} ${up(point.y)}`;
    svg.append(drawn("path", { class: "front", d: `${path}H${across(1)}` }));
    // the best is drawn last, over the others; the order in which arrow keys go is that of the costs
    for (const point of [...points].sort((one, other) => (one.shape === "diamond") - (other.shape === "diamond"))) {
      const [x, y] = [across(point.x), up(point.y)];
      const group = drawn("g", { class: "point", role: "button", tabindex: point.key === current ? 0 : -1, "aria-label": point.words });
      group.dataset.key = point.key;
      if (point.reach) group.append(drawn("line", { class: "reach", x1: x, x2: x, y1: up(point.reach[0]), y2: up(point.reach[1]) }));
      group.append(drawn("circle", { class: "target", cx: x, cy: y, r: 13 }), marker(point, x, y));
      group.addEventListener("pointerenter", () => (told.textContent = point.words));
      group.addEventListener("focus", () => {
        current = point.key;
        for (const other of svg.querySelectorAll(".point")) other.setAttribute("tabindex", other === group ? 0 : -1);
        told.textContent = point.words;
      });
      group.addEventListener("click", () => {
        group.focus();
        open(point.key);
      });
      svg.append(group);
    }
    const taken = points.map((point) => [across(point.x), up(point.y)]);
    for (const point of points.filter((each) => each.letter)) {
      const [x, y] = [across(point.x), up(point.y)];
      const places = [[15, -10], [-15, -10], [15, 12], [-15, 12], [0, -20], [0, 22]].map(([right, down]) => [x + right, y + down]);
      const free = places.find(([left, top]) => taken.every(([one, other]) => Math.hypot(one - left, other - top) > 13)) ?? places[0];
      taken.push(free);
      svg.append(drawn("text", { class: "letter", x: free[0], y: free[1] + 4.5, "text-anchor": "middle", "aria-hidden": "true" }, point.letter));
    }
    svg.addEventListener("keydown", (event) => key(event, svg, points));
    place.replaceChildren(svg);
    if (focused) svg.querySelector(`[tabindex="0"]`)?.focus();
    names.replaceChildren(...points.filter((point) => point.letter).map((point) => named(point)));
    legend.replaceChildren(...plot.legend.map((sign) => explained(sign)), explained({ words: plot.front }));
  }

  function key(event, svg, points) {
    const at = points.findIndex((point) => point.key === event.target.dataset?.key);
    if (at < 0) return;
    const byScore = [...points].sort((one, other) => one.y - other.y);
    const height = byScore.indexOf(points[at]);
    const goals = {
      ArrowRight: points[at + 1],
      ArrowLeft: points[at - 1],
      ArrowUp: byScore[height + 1],
      ArrowDown: byScore[height - 1],
      Home: points[0],
      End: points.at(-1),
    };
    if (event.key === "Enter" || event.key === " ") open(points[at].key);
    else if (!(event.key in goals)) return;
    else if (goals[event.key]) [...svg.querySelectorAll(".point")].find((node) => node.dataset.key === goals[event.key].key).focus();
    event.preventDefault();
    event.stopPropagation(); // the notebook must not take it for a command
  }

  function named(point) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.textContent = `${point.letter} ${point.brief}`;
    button.addEventListener("click", () => open(point.key));
    item.append(button);
    return item;
  }

  function explained(sign) {
    const item = document.createElement("li");
    const drawing = sign.shape ? marker(sign, 13, 13) : drawn("path", { class: "front", d: "M2 20H13V6H24" });
    const picture = drawn("svg", { width: 26, height: 26, "aria-hidden": "true" }, drawing);
    item.append(picture, document.createTextNode(sign.words));
    return item;
  }

  const observer = new ResizeObserver(() => {
    if (Math.abs(place.clientWidth - width) < 2) return;
    width = place.clientWidth;
    draw();
  });
  observer.observe(el);
  model.on("change:plot", draw);
  return () => {
    observer.disconnect();
    model.off("change:plot", draw);
  };
}

export default { render };
