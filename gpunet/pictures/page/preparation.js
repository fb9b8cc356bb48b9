// A drawing made into what the network was trained on, as `gpunet predict` does: light ink on dark ground, cut out,
// scaled to a box of 20 of 28 pixels, centred by its centre of mass.

const BOX = 20 / 28, NOISE = 0.15, CONTRAST = 16;

// Half to even, as NumPy rounds.
function rounded(value) {
  const below = Math.floor(value), rest = value - below;
  return rest < 0.5 ? below : rest > 0.5 ? below + 1 : below + (below & 1);
}

function median(values) {
  const sorted = Float64Array.from(values).sort(), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// How much ink there is at each pixel, 0 to 1, of brightness 0 to 255; null if all pixels are about alike.
function inkOf(brightness, rows, columns) {
  const edge = [];
  for (let x = 0; x < columns; x += 1) edge.push(brightness[x], brightness[(rows - 1) * columns + x]);
  for (let y = 0; y < rows; y += 1) edge.push(brightness[y * columns], brightness[y * columns + columns - 1]);
  const ground = median(edge);
  let least = Infinity, most = -Infinity;
  for (let pixel = 0; pixel < brightness.length; pixel += 1) { // plain loops: this runs with every stroke
    if (brightness[pixel] < least) least = brightness[pixel];
    if (brightness[pixel] > most) most = brightness[pixel];
  }
  const darker = ground - least, lighter = most - ground, contrast = Math.max(darker, lighter);
  if (contrast < CONTRAST) return null;
  const amount = new Float32Array(brightness.length), sign = darker >= lighter ? -1 : 1;
  for (let pixel = 0; pixel < amount.length; pixel += 1) {
    amount[pixel] = sign * (brightness[pixel] - ground) / contrast;
    if (amount[pixel] < NOISE) amount[pixel] = 0;
  }
  return amount;
}

// The lines and columns that hold ink: [first, last].
function extent(amount, rows, columns) {
  let [top, bottom, left, right] = [rows, -1, columns, -1];
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      if (amount[y * columns + x] === 0) continue;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
      if (x < left) left = x;
      if (x > right) right = x;
    }
  }
  return { top, bottom, left, right };
}

function hamming(x) {
  if (x === 0) return 1;
  const size = Math.abs(x);
  if (size >= 1) return 0;
  return Math.sin(size * Math.PI) / (size * Math.PI) * (0.5400000214576721 + 0.46000000834465027 * Math.cos(size * Math.PI));
}

// A line of `from` pixels as one of `to`: for each new pixel the first old one and the weights, in 2^-22.
function weightsOfPixels(from, to) {
  const scale = from / to, width = Math.max(scale, 1);
  return Array.from({ length: to }, (_, pixel) => {
    const centre = (pixel + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - width + 0.5));
    const last = Math.min(from, Math.trunc(centre + width + 0.5));
    const weights = [];
    for (let old = first; old < last; old += 1) weights.push(hamming((old - centre + 0.5) * (1 / width)));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => Math.trunc(weight / sum * 2 ** 22 + (weight < 0 ? -0.5 : 0.5))) };
  });
}

// One direction of a change of size; bytes in, bytes out. `step` leads from pixel to pixel, `stride` from line to line.
function resizedLines(pixels, lines, from, to, step, stride, toStep, toStride) {
  if (from === to && step === toStep) return pixels;
  const made = new Uint8Array(lines * to);
  weightsOfPixels(from, to).forEach(({ first, weights }, pixel) => {
    for (let line = 0; line < lines; line += 1) {
      let sum = 2 ** 21;
      for (let index = 0; index < weights.length; index += 1) {
        sum += pixels[line * stride + (first + index) * step] * weights[index];
      }
      made[line * toStride + pixel * toStep] = Math.min(Math.max(Math.floor(sum / 2 ** 22), 0), 255);
    }
  });
  return made;
}

// Bytes (rows, columns) in another size, each new pixel a weighted mean of all old ones under it (Hamming's window).
function resized(pixels, rows, columns, height, width) {
  const across = resizedLines(pixels, rows, columns, width, 1, columns, 1, width);
  return resizedLines(across, width, rows, height, width, 1, width, 1);
}

// Whether ink is centred already, in a frame of the right size.
function isReady(amount, rows, columns, frame) {
  if (rows !== frame[0] || columns !== frame[1]) return false;
  const { top, bottom, left, right } = extent(amount, rows, columns);
  if (bottom - top + 1 > rounded(rows * BOX) || right - left + 1 > rounded(columns * BOX)) return false;
  const [y, x] = centreOf(amount, rows, columns);
  return Math.abs(y - rows / 2) <= 1 && Math.abs(x - columns / 2) <= 1;
}

function centreOf(amount, rows, columns) {
  let weight = 0, down = 0, across = 0;
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      const value = amount[y * columns + x];
      weight += value; down += value * y; across += value * x;
    }
  }
  return [down / weight, across / weight];
}

// Brightness (rows, columns) 0 to 255 as an example of the network: bytes (frame), or null where nothing is drawn.
function prepared(brightness, rows, columns, frame) {
  const amount = inkOf(brightness, rows, columns);
  if (amount === null) return null;
  if (isReady(amount, rows, columns, frame)) {
    const light = brightness[0] < 128;
    return Uint8Array.from(brightness, (value) => rounded(light ? value : 255 - value));
  }
  const { top, bottom, left, right } = extent(amount, rows, columns);
  const [tall, broad] = [bottom - top + 1, right - left + 1];
  const part = new Uint8Array(tall * broad);
  for (let y = 0; y < tall; y += 1) {
    for (let x = 0; x < broad; x += 1) part[y * broad + x] = rounded(Math.fround(amount[(top + y) * columns + left + x] * 255));
  }
  const scale = Math.min(frame[0] * BOX / tall, frame[1] * BOX / broad);
  const [height, width] = [[tall, frame[0]], [broad, frame[1]]].map(([size, most]) => Math.min(Math.max(rounded(size * scale), 1), most));
  const small = tall === height && broad === width ? part : resized(part, tall, broad, height, width);
  let brightest = 1;
  for (const value of small) brightest = Math.max(brightest, value);
  const pixels = Float32Array.from(small, (value) => value * Math.fround(255 / brightest)); // thin lines pale when made smaller
  const [y, x] = centreOf(pixels, height, width);
  const upper = Math.min(Math.max(rounded(frame[0] / 2 - y), 0), frame[0] - height);
  const near = Math.min(Math.max(rounded(frame[1] / 2 - x), 0), frame[1] - width);
  const made = new Uint8Array(frame[0] * frame[1]);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      made[(upper + row) * frame[1] + near + column] = rounded(pixels[row * width + column]);
    }
  }
  return made;
}
