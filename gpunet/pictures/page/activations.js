// The activations of a network, by their names; an activation is one line here.

const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

// The Gaussian distribution function: a series in the middle, a continued fraction in the tails.
function gaussian(x) {
  const size = Math.abs(x);
  const density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  if (size < 3) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n += 1) {
      term *= x * x / (2 * n + 1);
      sum += term;
    }
    return 0.5 + density * sum;
  }
  let fraction = 0;
  for (let n = 40; n > 0; n -= 1) fraction = n / (size + fraction);
  const tail = density / (size + fraction);
  return x > 0 ? 1 - tail : tail;
}

const ACTIVATIONS = {
  "identity": (x) => x,
  "relu": (x) => Math.max(x, 0),
  "leaky-relu": (x) => (x < 0 ? 0.01 * x : x),
  "elu": (x) => (x > 0 ? x : Math.expm1(x)),
  "selu": (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  "relu6": (x) => Math.min(Math.max(x, 0), 6),
  "hard-tanh": (x) => Math.min(Math.max(x, -1), 1),
  "sigmoid": sigmoid,
  "tanh": Math.tanh,
  "softplus": softplus,
  "softsign": (x) => x / (1 + Math.abs(x)),
  "silu": (x) => x * sigmoid(x),
  "gelu": (x) => x * gaussian(x),
  "gelu-tanh": (x) => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)),
  "mish": (x) => x * Math.tanh(softplus(x)),
};
