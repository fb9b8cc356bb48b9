"""Lesson 5: a hidden layer makes a neural network.

Between the image and the softmax stands a layer of neurons, each a weighted sum and an activation. Two layers without
the activation between them would be no more than one: (x W1) W2 = x (W1 W2). That is tried here too.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k")

for title, sizes, activation in (
    ("no hidden layer", [784, 10], "relu"),
    ("50 neurons, no activation", [784, 50, 10], "identity"),
    ("50 neurons with relu", [784, 50, 10], "relu"),
):
    model = gn.MLP(sizes, activation=activation)
    result = gn.train(model, data, optimizer=gn.SGD(0.1), iterations=1000)
    print(
        f"{title:26} {model.parameter_count:6} parameters  "
        f"train {result.train_accuracy:.4f}  test {result.test_accuracy:.4f}"
    )

save_picture(gn.plot_confusion, gn.evaluate(model, data.test), title="50 neurons with relu, test digits")
