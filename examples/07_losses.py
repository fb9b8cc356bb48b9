"""Lesson 7: other losses.

The mean squared error compares the outputs with the one-hot labels themselves. It learns, and slower with the same
learning rate: its gradient is divided among the ten outputs. The full form of the cross-entropy (the write-up's
technical note) also pushes down what the network says for the wrong classes.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k")
results = {}

print("loss                     lr   train    test")
for loss, rates in (
    ("softmax-cross-entropy", (0.1, 0.3)),
    ("binary-cross-entropy", (0.1, 0.3)),
    ("mse", (0.1, 1.0)),
    ("hinge", (0.1, 0.3)),
):
    for rate in rates:
        model = gn.MLP([784, 50, 30, 10], loss=loss)
        results[f"{loss} {rate}"] = result = gn.train(model, data, optimizer=gn.SGD(rate), iterations=500, log_every=20)
        print(f"{loss:22}  {rate:4}  {result.train_accuracy:.4f}  {result.test_accuracy:.4f}")

save_picture(gn.plot_history, results, title="Losses and learning rates")
