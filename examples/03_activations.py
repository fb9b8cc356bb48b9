"""Lesson 3: activation functions, what makes a neuron more than a weighted sum.

Draws the sigmoid, tanh and relu in the terminal, then holds every activation's derivative against the slope that one
measures, (f(x + h) - f(x - h)) / 2h, and trains the same network with each of them.
"""

import numpy as np
from drawing import save_picture

import gpunet as gn

ROWS, COLUMNS = 9, 49
x = np.linspace(-4, 4, COLUMNS)

for name in ("sigmoid", "tanh", "relu"):
    f = gn.ACTIVATIONS[name]
    y = np.empty_like(x)
    f.forward(x, y)
    print(f"\n{name}: {f.formula}")
    rows = np.rint((y - y.min()) / np.ptp(y) * (ROWS - 1)).astype(int)
    for row in range(ROWS - 1, -1, -1):
        print("".join("o" if place == row else "|" if abs(at) < 0.01 else " " for place, at in zip(rows, x)).rstrip())
    print(f"from {y.min():.2f} to {y.max():.2f} over x from -4 to 4")

print("\nactivation    derivative off by    test accuracy after 200 steps")
data = gn.load_dataset("mnist-5k")
results = {}
for name, f in gn.ACTIVATIONS.items():
    difference = gn.check_activation(f)
    results[name] = result = gn.train(gn.MLP([784, 50, 10], activation=name), data, iterations=200, log_every=20)
    print(f"{name:12}  {difference:17.0e}    {result.test_accuracy:.4f}")

save_picture(gn.plot_history, results, title="One network with each activation")
