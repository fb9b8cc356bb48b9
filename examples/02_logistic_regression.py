"""Lesson 2: logistic regression, a neuron that says how sure it is.

In the place of the sign stands the sigmoid, 1 / (1 + exp(-z)): between 0 and 1, a probability. The loss is the binary
cross-entropy, -(t log p + (1 - t) log(1 - p)). It is computed from z and not from p, so that a neuron that is sure and
wrong has a large loss and not an infinite one.
"""

import numpy as np

import gpunet as gn

data = gn.load_dataset("mnist-5k").select_classes([3, 8])

model = gn.MLP([784, 1], loss="binary-cross-entropy")
result = gn.train(model, data, optimizer=gn.SGD(0.1), iterations=1000)
print(f"train accuracy {result.train_accuracy:.4f}, test accuracy {result.test_accuracy:.4f}")

# What it says of a few test images: the probability of a three and of an eight.
for probabilities, label in zip(model.predict_proba(data.test.images[:6]), data.test.labels[:6]):
    print(f"3: {probabilities[0]:.3f}   8: {probabilities[1]:.3f}   it is {(3, 8)[label]}")

# How sure it is when it is right, and when it is wrong:
probabilities = model.predict_proba(data.test.images)
sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == data.test.labels
print(f"mean probability of its answer: {np.mean(sure[right]):.3f} when right, {np.mean(sure[~right]):.3f} when wrong")
