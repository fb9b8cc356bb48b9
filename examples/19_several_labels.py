"""Lesson 19: several labels of one example, each by itself.

A digit is of one class, and the softmax gives the ten classes one probability to share. Of a digit one can also ask
several things at once that do not exclude each other: is it even, is it prime, has it a loop? Each question is an
output of its own with a sigmoid, and the loss is the mean of their binary cross-entropies. Of no label, or of all,
nothing is wrong.
"""

import numpy as np

import gpunet as gn

NAMES = ["even", "prime", "loop"]
ANSWERS = {"even": (0, 2, 4, 6, 8), "prime": (2, 3, 5, 7), "loop": (0, 6, 8, 9)}

digits = gn.load_dataset("mnist-5k")


def labels(split: gn.Split) -> np.ndarray:
    """A row of 0 and 1 for each digit, a column for each question."""
    return np.stack([np.isin(split.targets, ANSWERS[name]) for name in NAMES], axis=1)


data = gn.Dataset.from_arrays(
    digits.train.inputs, labels(digits.train), digits.test.inputs, labels(digits.test), class_names=NAMES
)
print(f"{data.task}: {data.classes} labels, each in {data.train.class_counts().tolist()} of {len(data.train):,} digits")

network = gn.MLP([784, 50, data.outputs], loss="binary-cross-entropy")
result = gn.train(network, data, optimizer=gn.Adam(0.001), iterations=800)

# Two kinds of being right: each answer by itself, and all answers about a digit at once.
answers, truth = network.predict(data.test.inputs), data.test.targets
for name, right in zip(NAMES, (answers == truth).mean(axis=0)):
    print(f"{name:6} right for {right:.4f} of the test digits")
print(f"all three right for {(answers == truth).all(axis=1).mean():.4f}")

# The probabilities of a digit need not add up to 1: an 8 is even and has a loop, and is no prime.
eight = data.test.inputs[digits.test.targets == 8][:1]
told = ", ".join(f"{name} {share:.2f}" for name, share in zip(NAMES, network.predict_proba(eight)[0]))
print(f"an eight: {told}")
