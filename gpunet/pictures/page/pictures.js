// A page of pictures: the drawing area, the layers, pictures to try.

const [rows, columns, channels] = [...facts.imageShape, 1];
const frame = [rows, columns];
const { colour, centred, inverted, ground, paper } = facts.pictures;
const inked = centred || inverted; // examples are light ink on dark ground, and shown as dark ink on paper
const easel = element("easel"), seen = element("seen");
const WIDTH = 280, HEIGHT = Math.round(280 * rows / columns), PEN = Math.max(4, 20 * Math.min(1, rows / columns));
easel.width = WIDTH;
easel.height = HEIGHT;
easel.classList.toggle("ink", inked);
const pen = easel.getContext("2d", { willReadFrequently: true });
let current = null; // the example in hand
let chosen = [1, 0]; // the neuron pointed at: its layer, and its number in it

const grey = (value) => `rgb(${value} ${value} ${value})`;
const hue = made("input", { type: "color", value: paper < 128 ? "#ffffff" : "#000000" }); // of the pen
if (colour) element("file").parentElement.before(made("label", { class: "button" }, "Pen", hue));

function wipe() {
  pen.fillStyle = grey(paper);
  pen.fillRect(0, 0, WIDTH, HEIGHT);
}

// The brightness of a canvas as Pillow has it.
function brightnessOf({ data }) {
  const brightness = new Float32Array(data.length / 4);
  for (let pixel = 0, at = 0; pixel < brightness.length; pixel += 1, at += 4) {
    brightness[pixel] = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 32768) >> 16;
  }
  return brightness;
}

// An image's pixels as an example of the network; null if there is nothing to see.
function exampleFrom(image) {
  if (centred) return asTrained(prepared(brightnessOf(image), image.height, image.width, frame));
  const made = new Uint8Array(rows * columns * channels), plane = new Uint8Array(image.width * image.height);
  for (let channel = 0; channel < channels; channel += 1) {
    if (colour) plane.forEach((_, pixel) => { plane[pixel] = image.data[4 * pixel + channel]; });
    else plane.set(brightnessOf(image));
    resized(plane, image.height, image.width, rows, columns).forEach((value, pixel) => {
      made[channels * pixel + channel] = inverted ? 255 - value : value;
    });
  }
  return asTrained(made);
}

// An image with what is transparent laid on a ground, for ink on white, or on black if it is light itself.
function laid(image) {
  const { data } = image, brightness = brightnessOf(image);
  let light = 0, shares = 0;
  brightness.forEach((value, pixel) => { light += value * data[4 * pixel + 3]; shares += data[4 * pixel + 3]; });
  const under = !centred ? ground : light < 128 * shares ? 255 : 0;
  for (let at = 0; at < data.length; at += 4) {
    const share = data[at + 3] / 255;
    for (let place = at; place < at + 3; place += 1) data[place] = data[place] * share + under * (1 - share);
    data[at + 3] = 255;
  }
  return image;
}

// Bytes; a network that was trained on features and not on pixels takes numbers from 0 to 1.
function asTrained(pixels) {
  return pixels === null || facts.inputScale !== 1 ? pixels : Float32Array.from(pixels, (value) => value / 255);
}

// A canvas that has its size already keeps what it holds.
function sized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

// A picture (rows, columns) of an example on a small canvas: dark ink on paper, or as it is.
function paint(canvas, example) {
  sized(canvas, columns, rows);
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  image.data.fill(255);
  if (example !== null) {
    const top = example instanceof Uint8Array ? 255 : 1;
    for (let pixel = 0; pixel < rows * columns; pixel += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const value = 255 * example[colour ? 3 * pixel + channel : pixel] / top;
        image.data[4 * pixel + channel] = inked ? 255 - value : value;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

// --- drawing -----------------------------------------------------------------------------------------------

let waiting = false;

function drawn() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    show(exampleFrom(pen.getImageData(0, 0, WIDTH, HEIGHT)));
  });
}

function stroke(from, to) {
  pen.strokeStyle = hue.value;
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  drawn();
}

function placeOf(event) {
  const box = easel.getBoundingClientRect();
  return [(event.clientX - box.left) * WIDTH / box.width, (event.clientY - box.top) * HEIGHT / box.height];
}

let last = null; // where the pen was, while it is down
easel.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  try { easel.setPointerCapture(event.pointerId); } catch { /* a pointer that a script made up */ }
  last = placeOf(event);
  stroke(last, last);
});
easel.addEventListener("pointermove", (event) => {
  if (last === null) return;
  const moves = event.getCoalescedEvents?.() ?? [];
  for (const move of moves.length ? moves : [event]) {
    const place = placeOf(move);
    stroke(last, place);
    last = place;
  }
});
for (const end of ["pointerup", "pointercancel"]) easel.addEventListener(end, () => { last = null; });

const keyboard = { place: [WIDTH / 2, HEIGHT / 4], down: false };
const STEPS = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] };
easel.addEventListener("keydown", (event) => {
  if (event.key === " ") {
    keyboard.down = !keyboard.down;
    if (keyboard.down) stroke(keyboard.place, keyboard.place);
    element("spoken").textContent = keyboard.down ? "The pen is down." : "The pen is up.";
  } else if (event.key in STEPS) {
    const place = keyboard.place.map((value, axis) => (
      Math.min(Math.max(value + STEPS[event.key][axis], PEN), [WIDTH, HEIGHT][axis] - PEN)));
    if (keyboard.down) stroke(keyboard.place, place);
    keyboard.place = place;
  } else if (event.key === "Delete") {
    clear();
  } else {
    return;
  }
  event.preventDefault();
});

function clear() {
  wipe();
  keyboard.down = false;
  show(null);
}

element("clear").addEventListener("click", clear);
element("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // so that the same file may be opened again
  if (!file) return;
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    show(null);
    element("answer").textContent = element("spoken").textContent = `${file.name} is no picture that this browser reads.`;
    return;
  }
  const room = new OffscreenCanvas(image.width, image.height).getContext("2d");
  room.drawImage(image, 0, 0);
  const pixels = laid(room.getImageData(0, 0, image.width, image.height));
  room.putImageData(pixels, 0, 0);
  wipe();
  const scale = Math.min(WIDTH / image.width, HEIGHT / image.height);
  pen.drawImage(room.canvas, (WIDTH - scale * image.width) / 2, (HEIGHT - scale * image.height) / 2, scale * image.width, scale * image.height);
  show(exampleFrom(pixels));
});

// --- pictures to try ---------------------------------------------------------------------------------------

facts.examples?.told.forEach(({ truth, answer, wrong }, index) => {
  const canvas = made("canvas"); // shown as an image: a browser looks after every canvas of a page in every frame
  paint(canvas, exampleOf(index));
  const image = made("img", { class: inked ? "ink" : "", src: canvas.toDataURL(), alt: "" });
  const caption = wrong ? `${truth}, read as ${answer}` : truth;
  const button = made("button", { type: "button", class: wrong ? "wrong" : "right" }, image, caption);
  button.addEventListener("click", () => {
    pen.imageSmoothingEnabled = false;
    wipe();
    pen.drawImage(canvas, 0, 0, WIDTH, HEIGHT);
    show(exampleOf(index));
    easel.scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
  element("tries").append(button);
});

// --- inside the network ------------------------------------------------------------------------------------

const MOST = 2048; // neurons of a layer that are drawn

const tiles = network.layers.map((layer, index) => {
  const count = Math.min(layer.columns, MOST);
  const across = count <= 32 ? count : Math.ceil(Math.sqrt(count * 4));
  const size = count <= 128 ? 22 : count <= 512 ? 16 : 12; // pixels of a neuron's square, with the gap beside it
  const output = index === network.layers.length - 1;
  const name = output ? "Outputs" : `Layer ${index + 1}`;
  const title = `${name}: ${layer.columns.toLocaleString("en")} ${layer.columns === 1 ? "neuron" : "neurons"}${count < layer.columns ? `, the first ${count} shown` : ""}`;
  const canvas = made("canvas", { tabindex: "0", role: "application", "aria-label": `${title}; arrow keys choose one` });
  element("layers").append(made("div", { class: "layer" }, made("div", { class: "muted" }, title), canvas));
  const tile = { canvas, count, across, size, layer: index + 1 };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width * across, (event.clientY - box.top) / box.height * Math.ceil(count / across)];
    choose(tile, Math.floor(y) * across + Math.floor(x));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    choose(tile, (chosen[0] === tile.layer ? chosen[1] : -step) + step);
  });
  canvas.addEventListener("focus", () => { if (chosen[0] !== tile.layer) choose(tile, 0); });
  return tile;
});

const away = new Set(); // canvases of layers that are out of sight
const sight = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) away[isIntersecting ? "delete" : "add"](target);
});
for (const { canvas } of tiles) sight.observe(canvas);

function choose(tile, neuron) {
  if (neuron < 0 || neuron >= tile.count || (chosen[0] === tile.layer && chosen[1] === neuron)) return;
  chosen = [tile.layer, neuron];
  showWeights();
  showInside(network.answer(current ?? new Uint8Array(rows * columns * channels)));
  element("spoken").textContent = element("which").textContent;
}

// The colours of numbers from -1 over 0 to 1: blue, the page's ground, orange.
let hues = null;
function coloursOf() {
  const style = getComputedStyle(document.documentElement);
  const hue = (name) => [1, 3, 5].map((at) => parseInt(style.getPropertyValue(name).trim().slice(at, at + 2), 16));
  return { ground: hue("--card"), more: hue("--vermilion"), less: hue("--blue"), ink: style.getPropertyValue("--ink") };
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { hues = null; showWeights(); show(current); });

// Squares of `size` pixels (one of them the gap, if there is room for it), `across` in a row.
function squares(canvas, values, across, size) {
  hues ??= coloursOf();
  const width = across * size, height = Math.ceil(values.length / across) * size, side = size > 3 ? size - 1 : size;
  sized(canvas, width, height);
  const context = canvas.getContext("2d"), image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer); // one number for each, its bytes alpha, blue, green, red
  let top = 1e-12;
  for (const value of values) top = Math.max(top, Math.abs(value));
  for (let index = 0; index < values.length; index += 1) {
    const share = Math.min(Math.abs(values[index]) / top, 1), hue = values[index] > 0 ? hues.more : hues.less;
    let colour = 255;
    for (let channel = 2; channel >= 0; channel -= 1) {
      colour = colour << 8 | hues.ground[channel] + (hue[channel] - hues.ground[channel]) * share;
    }
    const first = Math.floor(index / across) * size * width + (index % across) * size;
    for (let row = 0; row < side; row += 1) pixels.fill(colour, first + row * width, first + row * width + side);
  }
  context.putImageData(image, 0, 0);
  return context;
}

// The numbers of every layer; while one draws, layers out of sight wait until the pen rests.
let resting = 0;
function showInside(found, all = false) {
  clearTimeout(resting);
  if (!all && away.size > 0) resting = setTimeout(() => showInside(found, true), 200);
  for (const { canvas, count, across, size, layer } of tiles) {
    if (!all && away.has(canvas)) continue;
    const context = squares(canvas, found.layers[layer].subarray(0, count), across, size);
    if (chosen[0] === layer) {
      context.strokeStyle = hues.ink;
      context.lineWidth = 2;
      context.strokeRect((chosen[1] % across) * size + 1, Math.floor(chosen[1] / across) * size + 1, size - 3, size - 3);
    }
  }
  const [layer, neuron] = chosen;
  const name = layer === network.layers.length && facts.sizes[layer] > 1 && facts.classNames.length ? `Output ${className(neuron)}` : `Neuron ${neuron + 1} of layer ${layer}`;
  const from = layer === 1 ? "the pixels" : `layer ${layer - 1}`;
  write(element("which"), `${name} gives ${number(found.layers[layer][neuron])}; above, the weights from ${from}.`);
}

// The weights that lead to the chosen neuron, which stay the same while one draws.
function showWeights() {
  const [layer, neuron] = chosen, weights = network.weightsInto(layer, neuron);
  if (layer === 1) {
    const means = Float64Array.from({ length: rows * columns }, (_, pixel) => {
      let sum = 0;
      for (let channel = 0; channel < channels; channel += 1) sum += weights[channels * pixel + channel];
      return sum / channels;
    });
    squares(element("weights"), means, columns, 1);
  } else {
    squares(element("weights"), weights.subarray(0, MOST), tiles[layer - 2].across, tiles[layer - 2].size);
  }
}

// --- all of it ---------------------------------------------------------------------------------------------

function show(example) {
  current = example;
  paint(seen, example);
  const found = example === null ? null : network.answer(example);
  showAnswer(found, "Draw something, or try a picture below.");
  showInside(found ?? network.answer(new Uint8Array(rows * columns * channels)));
}

seen.classList.toggle("ink", inked);
wipe();
showWeights();
show(null);
