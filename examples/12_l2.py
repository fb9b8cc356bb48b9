"""Lesson 12: L2 regularisation.

l2 / 2 times the sum of the squared weights is added to the loss, so that a weight has to be worth its size. The weights
stay smaller, training fits a little worse, and the probabilities are less extreme: the loss on the test set falls,
until the penalty is so strong that the network can no longer learn what it should.
"""

import numpy as np

import gpunet as gn

data = gn.load_dataset("mnist-5k")

print("l2        |W1|    train accuracy / loss    test accuracy / loss")
for l2 in (0.0, 0.0001, 0.001, 0.01):
    model = gn.MLP([784, 100, 10])
    result = gn.train(model, data, optimizer=gn.Momentum(0.1), iterations=400, l2=l2)
    length = float(np.linalg.norm(model.parameters[0]))
    print(
        f"{l2:<7} {length:6.2f}         {result.train_accuracy:.4f} / {result.train_loss:.4f}"
        f"         {result.test_accuracy:.4f} / {result.test_loss:.4f}"
    )
