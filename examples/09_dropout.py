"""Lesson 9: dropout.

In each training step a part of the hidden neurons, drawn anew, is silent, so that none can lean on another. The others
are scaled up, so that nothing has to change when the network is used. A large network on little data shows what it is
for: less is learned by heart, and the gap between training and test becomes smaller.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k")
results = {}

print("dropout   train accuracy / loss   test accuracy / loss")
for rate in (0.0, 0.2, 0.5):
    model = gn.MLP([784, 200, 10], dropout=rate)
    results[f"dropout {rate}"] = result = gn.train(
        model, data, optimizer=gn.Momentum(0.1, momentum=0.9), iterations=600, log_every=20
    )
    print(
        f"{rate:7}        {result.train_accuracy:.4f} / {result.train_loss:.4f}"
        f"        {result.test_accuracy:.4f} / {result.test_loss:.4f}"
    )

save_picture(gn.plot_history, results, title="Training batches with and without dropout")
