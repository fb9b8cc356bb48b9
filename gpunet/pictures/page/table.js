// A page of a table: a field for each column, and the curve of the answer over the range of the one in hand.

const fields = facts.columns;
let row = fields.map((field) => field.start);
let hand = 0; // the field that the curve is of

// A row as the network takes it: numbers without their column's origin, categories by their numbers.
function exampleFrom(values) {
  return Float32Array.from(values, (value, index) => (value === null ? NaN : value - (fields[index].origin ?? 0)));
}

// --- the fields --------------------------------------------------------------------------------------------

const controls = fields.map((field, index) => {
  const id = `field-${index}`, box = made("div", { class: "field" }, made("label", { for: id }, field.name));
  const set = (value) => { row[index] = value; hand = index; show(); };
  box.addEventListener("focusin", () => { if (hand !== index) { hand = index; show(); } });
  element("fields").append(box);
  if (field.kind === "category") {
    const options = field.values.map((name, value) => made("option", { value }, name));
    if (field.missing) options.push(made("option", { value: "" }, "(missing)"));
    const select = made("select", { id }, ...options);
    select.addEventListener("change", () => set(select.value === "" ? null : Number(select.value)));
    box.append(select);
    return { box, write: (value) => { select.value = value ?? ""; } };
  }
  const step = field.whole ? 1 : 10 ** Math.floor(Math.log10((field.high - field.low) / 100 || 1));
  const slider = made("input", { type: "range", min: field.low, max: field.high, step, "aria-label": `${field.name}, slider` });
  const exact = made("input", { type: "number", id, step: "any", placeholder: field.missing ? "missing" : "" });
  slider.addEventListener("input", () => { exact.value = slider.value; set(Number(slider.value)); });
  exact.addEventListener("input", () => {
    if (exact.value !== "" && Number.isFinite(Number(exact.value))) {
      slider.value = exact.value;
      set(Number(exact.value));
    } else if (exact.value === "" && field.missing) {
      set(null);
    }
  });
  box.append(made("div", { class: "pair" }, slider, exact));
  return { box, write: (value) => {
    exact.value = value === null ? "" : Number(value.toPrecision(7));
    slider.value = value ?? field.start ?? field.low;
  } };
});

function fill(values) {
  row = values;
  controls.forEach(({ write }, index) => write(row[index]));
  show();
}

element("clear").addEventListener("click", () => {
  if (element("try")) element("try").value = "";
  fill(fields.map((field) => field.start));
});
element("try")?.addEventListener("change", ({ target }) => {
  if (target.value === "") return;
  const values = Array.from(exampleOf(Number(target.value)));
  fill(values.map((value, index) => (Number.isNaN(value) ? null : value + (fields[index].origin ?? 0))));
});
facts.examples?.told.forEach(({ truth, answer, wrong }, index) => {
  const told = facts.task === "regression" ? `${truth}, answered ${answer}` : wrong ? `wrong: ${truth}, answered ${answer}` : `right: ${truth}`;
  element("try").append(made("option", { value: index }, told));
});

// --- the curve ---------------------------------------------------------------------------------------------

const LINES = ["--blue", "--vermilion", "--green", "--purple", "--muted"];
const [LEFT, TOP, BOTTOM] = [70, 20, 240]; // of the plot, in pixels

// What the network answers at each place of the field in hand: names, places, and values[line][place].
function curve() {
  const field = fields[hand];
  const places = field.kind === "category" ? field.values.map((_, index) => index)
    : Array.from({ length: 61 }, (_, index) => field.low + (field.high - field.low) * index / 60);
  const answers = places.map((place) => network.answer(exampleFrom(row.map((value, index) => (index === hand ? place : value)))));
  const outputs = answers.map((found) => found.values ?? found.probabilities ?? found.logits);
  let lines = outputs[0].map((_, line) => ({ line, values: outputs.map((output) => output[line]) }));
  if (facts.task === "classification" && lines.length === 2) lines = [lines[1]];
  lines.sort((a, b) => Math.max(...b.values) - Math.max(...a.values));
  const name = facts.task === "regression" ? (line) => facts.targetNames[line] ?? "value" : className;
  return { field, places, lines: lines.slice(0, LINES.length).map(({ line, values }) => ({ name: name(line), values })) };
}

function drawCurve() {
  const width = Math.min(Math.max(element("plot").clientWidth, 300), 900);
  const { field, places, lines } = curve();
  const room = Math.min(Math.max(...lines.map(({ name }) => name.length)), width > 500 ? 20 : 12); // letters of a name
  const right = width - 16 - 9 * room;
  const shares = facts.task !== "regression" && facts.output !== "identity";
  const all = lines.flatMap(({ values }) => values);
  let [low, high] = shares ? [0, 1] : [Math.min(...all), Math.max(...all)];
  if (high - low < 1e-9 * Math.max(Math.abs(high), 1e-3)) [low, high] = [low - 1, high + 1];
  const span = places[places.length - 1] - places[0] || 1;
  const named = field.kind === "category";
  const across = (place) => (named && places.length < 2 ? (LEFT + right) / 2 : LEFT + (right - LEFT) * (named ? (place + 0.5) / places.length : (place - places[0]) / span));
  const up = (value) => BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low);
  const parts = [low, (low + high) / 2, high].map((value) => (
    `<line class="grid" x1="${LEFT}" x2="${right}" y1="${up(value)}" y2="${up(value)}"/>` +
    `<text x="${LEFT - 8}" y="${up(value) + 5}" text-anchor="end">${shares ? percent(value) : number(value)}</text>`));
  const marks = named ? places.slice(0, 12) : [places[0], (places[0] + places[60]) / 2, places[60]];
  for (const mark of marks) {
    const anchor = named ? "middle" : mark === places[0] ? "start" : mark === places[60] ? "end" : "middle";
    const label = named ? field.values[mark].slice(0, Math.max(3, Math.floor((right - LEFT) / 8 / marks.length))) : number(mark);
    parts.push(`<text x="${across(mark)}" y="${BOTTOM + 22}" text-anchor="${anchor}">${escaped(label)}</text>`);
  }
  const here = row[hand];
  if (here !== null && here >= places[0] && here <= places[places.length - 1]) {
    parts.push(`<line class="here" x1="${across(here)}" x2="${across(here)}" y1="${TOP}" y2="${BOTTOM}" stroke-dasharray="4 4"/>`);
  }
  const ends = lines.map(({ values }) => up(values[values.length - 1]));
  apart(ends, 17);
  lines.forEach(({ name, values }, line) => {
    const colour = `var(${LINES[line]})`;
    if (named) {
      values.forEach((value, index) => parts.push(`<circle cx="${across(index)}" cy="${up(value)}" r="6" fill="${colour}"/>`));
    } else {
      parts.push(`<path stroke="${colour}" d="M${values.map((value, index) => `${across(places[index]).toFixed(1)} ${up(value).toFixed(1)}`).join("L")}"/>`);
    }
    parts.push(`<text class="name" x="${right + 10}" y="${ends[line] + 5}" style="fill: ${colour}">${escaped(name.length > room ? `${name.slice(0, room - 1)}…` : name)}</text>`);
  });
  const told = lines.map(({ name, values }) => `${name} from ${number(Math.min(...values))} to ${number(Math.max(...values))}`).join(", ");
  element("plot").innerHTML = `<svg viewBox="0 0 ${width} 275" role="img" aria-label="${escaped(`Over ${field.name}: ${told}`)}">${parts.join("")}</svg>`;
  element("hand").textContent = field.name;
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

// Places moved apart so that the names there do not overlap.
function apart(places, gap) {
  const order = places.map((_, index) => index).sort((a, b) => places[a] - places[b]);
  for (let index = 1; index < order.length; index += 1) {
    places[order[index]] = Math.max(places[order[index]], places[order[index - 1]] + gap);
  }
}

function show() {
  controls.forEach(({ box }, index) => box.classList.toggle("hand", index === hand));
  showAnswer(network.answer(exampleFrom(row)), "");
  drawCurve();
}

addEventListener("resize", drawCurve);
fill(row);
