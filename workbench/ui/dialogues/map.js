// Draws the boxes that Python laid out; words are set as text, never as HTML.
const WIDE = { column: 236, row: 66, box: 204, height: 56 };
const NARROW = { indent: 14, row: 62, height: 54 };
const SVG = "http://www.w3.org/2000/svg";

export default function ({ data, parentElement, setTriggerValue }) {
  const map = parentElement.querySelector(".map");
  map.setAttribute("aria-label", data.label);
  let drawnNarrow = null;

  const draw = () => {
    const narrow = map.clientWidth < 640;
    if (narrow === drawnNarrow) return;
    drawnNarrow = narrow;
    map.replaceChildren(...picture(data, narrow, map.clientWidth, setTriggerValue));
    const current = map.querySelector(".current");
    if (current) {
      map.scrollTop = current.offsetTop - map.clientHeight / 2 + current.offsetHeight / 2;
      map.scrollLeft = current.offsetLeft - map.clientWidth / 2 + current.offsetWidth / 2;
    }
  };
  draw();
  const observer = new ResizeObserver(draw);
  observer.observe(map);
  return () => observer.disconnect();
}

function picture(data, narrow, width, setTriggerValue) {
  const places = new Map(data.boxes.map((box) => [box.id, place(box, narrow, width)]));
  const svg = document.createElementNS(SVG, "svg");
  const spots = [...places.values()];
  svg.setAttribute("width", Math.max(...spots.map((spot) => spot.x + spot.width), 0) + 16);
  svg.setAttribute("height", Math.max(...spots.map((spot) => spot.y + spot.height), 0) + 16);
  svg.setAttribute("aria-hidden", "true");
  for (const box of data.boxes) {
    const from = places.get(box.parent);
    if (from) svg.append(line(from, places.get(box.id), narrow, box.way));
  }
  return [svg, ...data.boxes.flatMap((box) => parts(box, places.get(box.id), data, setTriggerValue))];
}

function place(box, narrow, width) {
  if (!narrow) {
    const x = 8 + box.depth * WIDE.column;
    return { x, y: 8 + box.row * WIDE.row, width: WIDE.box, height: WIDE.height };
  }
  const x = 4 + Math.min(box.depth, 8) * NARROW.indent;
  return { x, y: 8 + box.line * NARROW.row, width: width - x - 40, height: NARROW.height };
}

function line(from, to, narrow, way) {
  const path = document.createElementNS(SVG, "path");
  if (narrow) {
    const x = from.x + 5;
    path.setAttribute("d", `M${x} ${from.y + from.height}V${to.y + to.height / 2}H${to.x}`);
  } else {
    const [x1, y1] = [from.x + from.width, from.y + from.height / 2];
    const [x2, y2] = [to.x, to.y + to.height / 2];
    const middle = (x1 + x2) / 2;
    path.setAttribute("d", `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`);
  }
  path.setAttribute("class", way ? "way" : "");
  return path;
}

function parts(box, spot, data, setTriggerValue) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `box ${box.state}${box.way ? " way" : ""}`;
  if (box.id === data.current) {
    button.className += " current";
    button.setAttribute("aria-current", "true");
  }
  Object.assign(button.style, {
    left: `${spot.x}px`,
    top: `${spot.y}px`,
    width: `${spot.width}px`,
    height: `${spot.height}px`,
  });
  button.title = `${box.stateName}${box.marks ? " · " + box.marks : ""}\n${box.text}`;
  button.dataset.node = box.id;
  button.append(words("marks", `${box.stateName}${box.marks ? " · " + box.marks : ""}`));
  button.append(words("text", box.text));
  button.onclick = () => setTriggerValue("pick", box.id);
  if (!box.children) return [button];
  const fold = document.createElement("button");
  fold.type = "button";
  fold.className = "fold";
  fold.textContent = box.hidden ? `+${box.hidden}` : "–";
  fold.title = box.hidden ? data.unfold : data.fold;
  fold.setAttribute("aria-label", fold.title);
  fold.style.left = `${spot.x + spot.width - 4}px`;
  fold.style.top = `${spot.y + spot.height / 2 - 11}px`;
  fold.onclick = () => setTriggerValue("fold", box.id);
  return [button, fold];
}

function words(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.dir = "auto";
  span.textContent = text;
  return span;
}
