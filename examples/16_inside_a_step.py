"""Lesson 16: inside a step, every line between the pixels and the gradient.

One step of training 784-50-30-10 written out with array operations, then the same step by the library. Their
gradients agree to rounding; and both agree with the slope that one measures by moving a single weight.
"""

import numpy as np

import gpunet as gn

data = gn.load_dataset("mnist-5k")
model = gn.MLP([784, 50, 30, 10], dtype="float64")  # so that the finite difference below has digits to work with
W1, b1, W2, b2, W3, b3 = (parameter.copy() for parameter in model.parameters)

# A batch: 100 images in a row each, pixels from 0 to 1, and their labels.
trainer = gn.Trainer(model, data, optimizer=gn.SGD(0.1), batch_size=100, iterations=1)
rows = trainer.step.order.permutation(0)[:100]
x, labels = data.train.images[rows] / 255, data.train.labels[rows]
print(f"x {x.shape}, labels {labels.shape}")

# Forward.
z1 = x @ W1 + b1
h1 = np.maximum(z1, 0)
z2 = h1 @ W2 + b2
h2 = np.maximum(z2, 0)
logits = h2 @ W3 + b3
print(f"h1 {h1.shape}, h2 {h2.shape}, logits {logits.shape}")

# The loss, and its gradient with respect to the logits: (probabilities - labels) / batch.
loss, delta3 = gn.softmax_cross_entropy(logits, labels)
probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
by_hand = (probabilities - np.eye(10)[labels]) / 100
print(f"loss {loss:.6f}; its gradient by hand differs by {np.abs(delta3 - by_hand).max():.0e}")

# Backward: the chain rule, from the top to the bottom.
gradients = {}
gradients["W3"], gradients["b3"] = h2.T @ delta3, delta3.sum(axis=0)
delta2 = (delta3 @ W3.T) * (z2 > 0)
gradients["W2"], gradients["b2"] = h1.T @ delta2, delta2.sum(axis=0)
delta1 = (delta2 @ W2.T) * (z1 > 0)
gradients["W1"], gradients["b1"] = x.T @ delta1, delta1.sum(axis=0)

# The library's step on the same batch, and where it leads.
*_, result = trainer.steps()
after = dict(zip(model.parameter_names, model.parameters))
before = {"W1": W1, "b1": b1, "W2": W2, "b2": b2, "W3": W3, "b3": b3}
for name, gradient in gradients.items():
    difference = np.abs(after[name] - (before[name] - 0.1 * gradient)).max()
    print(f"{name} {gradient.shape!s:10} step by hand and by the library differ by {difference:.0e}")
    assert difference < 1e-9

# And the slope, measured: move one weight and see what the loss does.
index, h = np.unravel_index(np.abs(gradients["W2"]).argmax(), W2.shape), 1e-6


def loss_with(weight: float) -> float:
    moved = W2.copy()
    moved[index] = weight
    hidden = np.maximum(h1 @ moved + b2, 0)
    return float(gn.softmax_cross_entropy(hidden @ W3 + b3, labels)[0])


slope = (loss_with(W2[index] + h) - loss_with(W2[index] - h)) / (2 * h)
print(f"W2{list(map(int, index))}: gradient {gradients['W2'][index]:.8f}, measured slope {slope:.8f}")
