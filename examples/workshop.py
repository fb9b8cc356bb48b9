"""The write-up's program, line by line: 784-50-30-10 with relu, trained by gradient descent in batches of 100.

Run `python examples/workshop.py`; with a number behind it, that many iterations. What TensorFlow's session did stands
here as the few array operations that it is.
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.pictures.sheets import Tile, terminal

mnist = gn.load_dataset("mnist-5k")  # reads in the dataset; load_dataset("mnist") is the full one


# a function that shows examples from the dataset. If num is specified, then only pictures with that label are shown
def show_pics(mnist: gn.Dataset, num: int | None = None) -> None:
    to_show = range(10) if num is None else [num]
    shown: list[Tile] = []
    for _ in range(100):
        pic, label = mnist.train.next_batch(1)  # gets an example
        if np.argmax(label) in to_show and len(shown) < 10:
            shown.append(Tile(pic.reshape(28, 28), f"Label: {np.argmax(label)}"))
    print("\n".join(terminal(shown, width=79, colour=None)))


show_pics(mnist, 2)

# some functions for quick variable creation
rng = np.random.default_rng(0)
truncated_normal = gn.initializers.TruncatedNormal(stddev=0.1)


def weight_variable(fan_in: int, fan_out: int) -> np.ndarray:
    return truncated_normal.draw(rng, fan_in, fan_out).astype(np.float32)


def bias_variable(neurons: int) -> np.ndarray:
    return np.full(neurons, 0.1, np.float32)


# hyperparameters we will use
learning_rate = 0.1
hidden_layer_neurons = 50
num_iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 5000

# create our weights and biases for our first hidden layer
W_1, b_1 = weight_variable(784, hidden_layer_neurons), bias_variable(hidden_layer_neurons)
# for the second
W_2_hidden = weight_variable(hidden_layer_neurons, 30)
b_2_hidden = bias_variable(30)
# and for our output layer
W_2, b_2 = weight_variable(30, 10), bias_variable(10)


def network(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h_1 = np.maximum(x @ W_1 + b_1, 0)  # relu
    h_2 = np.maximum(h_1 @ W_2_hidden + b_2_hidden, 0)
    y = h_2 @ W_2 + b_2
    return h_1, h_2, y


# functions that allow us to gauge accuracy of our model
def accuracy(y: np.ndarray, y_: np.ndarray) -> float:
    correct_predictions = np.argmax(y, 1) == np.argmax(y_, 1)  # a vector where each element is True or False
    return float(np.mean(correct_predictions))


for i in range(num_iterations):
    # get a sample of the dataset
    x, y_ = mnist.train.next_batch(100)
    h_1, h_2, y = network(x)
    # the cross entropy of the softmax, and its gradient, in one call that is stable
    _, dy = gn.softmax_cross_entropy(y, y_)
    # the optimizer: backpropagation, from the output layer down, and a step against the gradient
    dh_2 = (dy @ W_2.T) * (h_2 > 0)
    dh_1 = (dh_2 @ W_2_hidden.T) * (h_1 > 0)
    W_2 -= learning_rate * (h_2.T @ dy)
    b_2 -= learning_rate * dy.sum(axis=0)
    W_2_hidden -= learning_rate * (h_1.T @ dh_2)
    b_2_hidden -= learning_rate * dh_2.sum(axis=0)
    W_1 -= learning_rate * (x.T @ dh_1)
    b_1 -= learning_rate * dh_1.sum(axis=0)
    # every 100 iterations, print out the accuracy and the loss of this batch, as the network is now
    if i % 100 == 0:
        y = network(x)[2]
        acc, loss = accuracy(y, y_), gn.softmax_cross_entropy(y, y_)[0]
        print(f"iteration: {i}, accuracy: {acc:.2f}, loss: {loss:.6f}")

# evaluate our testing accuracy
x, y_ = mnist.test.next_batch(len(mnist.test))
print(f"testing accuracy: {accuracy(network(x)[2], y_):.4f}")
