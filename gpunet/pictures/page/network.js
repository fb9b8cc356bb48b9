// The network: an example goes in, the numbers of every layer and the answer come out.

// The bytes that stand in the page as base64.
function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function numbersOf(text, kind) {
  const kinds = { uint8: Uint8Array, float32: Float32Array, float64: Float64Array };
  return new kinds[kind](bytesOf(text).buffer);
}

class Network {
  // `facts` are what the page holds of the network, as `export_page` writes them.
  constructor(facts) {
    this.facts = facts;
    const parameters = numbersOf(facts.parameters, facts.dtype);
    this.layers = [];
    let at = 0;
    for (let index = 0; index + 1 < facts.sizes.length; index += 1) {
      const [rows, columns] = [facts.sizes[index], facts.sizes[index + 1]];
      const weights = parameters.subarray(at, at + rows * columns);
      const bias = parameters.subarray(at + rows * columns, at + (rows + 1) * columns);
      at += (rows + 1) * columns;
      this.layers.push({ rows, columns, weights, bias, activation: ACTIVATIONS[facts.activations[index] ?? "identity"] });
    }
  }

  // What the first layer reads of an example: scaled pixels, or the encoded columns of a table.
  inputs(example) {
    const { encoding, inputScale } = this.facts;
    if (encoding === null) {
      const scale = example instanceof Uint8Array ? inputScale : 1;
      return Float64Array.from(example, (value) => value * scale);
    }
    const { source, kind, fill, shift, factor, low, high } = encoding;
    const f = this.facts.dtype === "float32" ? Math.fround : (value) => value; // as the network computes
    return Float64Array.from(source, (column, feature) => {
      const absent = Number.isNaN(example[column]);
      if (kind[feature] === "missing") return absent ? 1 : 0;
      const value = absent ? fill[feature] : example[column];
      const z = f(f(value - shift[feature]) * factor[feature]);
      if (kind[feature] === "equal") return z === 0 ? 1 : 0;
      if (kind[feature] === "smooth") return z / Math.sqrt(1 + (z / 3) ** 2);
      return Math.min(Math.max(z, low[feature] ?? -Infinity), high[feature] ?? Infinity);
    });
  }

  // What every layer gives, the inputs first; the last are the logits.
  forward(example) {
    const outputs = [this.inputs(example)];
    for (const { rows, columns, weights, bias, activation } of this.layers) {
      const x = outputs[outputs.length - 1];
      const y = Float64Array.from(bias);
      for (let row = 0; row < rows; row += 1) {
        const value = x[row];
        if (value === 0) continue; // most pixels
        const start = row * columns;
        for (let column = 0; column < columns; column += 1) y[column] += value * weights[start + column];
      }
      outputs.push(y.map(activation));
    }
    return outputs;
  }

  // The answer: logits, probabilities where the network gives any, and classes, labels or values of the task.
  answer(example) {
    const layers = this.forward(example);
    const logits = Array.from(layers[layers.length - 1]);
    const { task, output, threshold } = this.facts;
    const found = { layers, logits, probabilities: null, best: null, labels: null, values: null };
    if (output === "softmax") {
      const top = Math.max(...logits);
      const powers = logits.map((value) => Math.exp(value - top));
      const sum = powers.reduce((total, value) => total + value, 0);
      found.probabilities = powers.map((value) => value / sum);
    } else if (output === "sigmoid") {
      const likely = logits.map(sigmoid);
      found.probabilities = likely.length === 1 && task === "classification" ? [1 - likely[0], likely[0]] : likely;
    }
    if (task === "regression") found.values = this.inUnits(logits);
    else if (task === "multi-label") found.labels = logits.map((value) => value > threshold);
    else if (logits.length === 1) found.best = logits[0] > threshold ? 1 : 0;
    else found.best = logits.indexOf(Math.max(...logits));
    return found;
  }

  // Outputs in the units of the targets, clipped to their training range where that is so.
  inUnits(outputs) {
    const { targets } = this.facts;
    if (targets === null) return outputs;
    return outputs.map((output, index) => {
      const value = output * targets.scale[index] + targets.shift[index];
      if (targets.low.length === 0) return value;
      return Math.min(Math.max(value, targets.low[index]), targets.high[index]);
    });
  }

  // The weights that lead to a neuron (counted from 0) of a layer (the first is 1).
  weightsInto(layer, neuron) {
    const { rows, columns, weights } = this.layers[layer - 1];
    return Float64Array.from({ length: rows }, (_, row) => weights[row * columns + neuron]);
  }
}
