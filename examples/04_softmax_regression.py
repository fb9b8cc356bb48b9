"""Lesson 4: from two classes to ten, softmax regression.

The vector of weights becomes a matrix with one column for each class, and the sigmoid becomes the softmax, which makes
the ten sums positive and has them add up to one. There is still no hidden layer.
"""

import numpy as np
from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k")

model = gn.MLP([784, 10])  # the softmax and its cross-entropy are the default
W, b = model.parameters
print(f"W {W.shape}, b {b.shape}: {model.parameter_count} parameters")

result = gn.train(model, data, optimizer=gn.SGD(0.1), iterations=1000)
print(f"train accuracy {result.train_accuracy:.4f}, test accuracy {result.test_accuracy:.4f}")

image = data.test.images[:1]
logits, probabilities = model.forward(image)[0], model.predict_proba(image)[0]
print(f"\nan image of a {data.test.labels[0]}:")
for digit in range(10):
    bar = "#" * round(40 * probabilities[digit])
    print(f"{digit}  logit {logits[digit]:7.3f}  probability {probabilities[digit]:.4f} {bar}".rstrip())
print(f"the probabilities add up to {np.sum(probabilities):.6f}")

# Why the negative sign in -sum(label * log(probability))? A logarithm of a probability is never positive, so without
# it the loss would be lowest where the answer is worst.
label = np.array([1.0, 0.0, 0.0])
for guess in ([0.1, 0.5, 0.4], [0.5, 0.1, 0.4], [0.98, 0.01, 0.01]):
    print(f"label {label}, guess {guess}: loss {-np.sum(label * np.log(guess)):.3f}")

save_picture(gn.plots.weights, model, title="What speaks for each digit, and what against it")
