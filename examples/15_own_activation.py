"""Lesson 15: an activation of one's own, in one call.

It needs the function and its derivative twice: in NumPy, and as an expression in CUDA C++, which goes into the same
kernels that the built-in activations use. `check_activation` holds the derivative against finite differences and, where
there is a GPU, the two forms against each other.
"""

import numpy as np

import gpunet as gn

# Half the sum of x and the root of x squared plus four: a smooth relu that is cheaper than softplus.
squareplus = gn.activation(
    "squareplus",
    forward=lambda x: (x + np.sqrt(x * x + 4)) / 2,
    derivative=lambda x: (1 + x / np.sqrt(x * x + 4)) / 2,
    cuda_forward="ACC(0.5) * (x + sqrt(x * x + ACC(4)))",
    cuda_derivative="ACC(0.5) * (ACC(1) + x / sqrt(x * x + ACC(4)))",
)

backend = gn.get_backend("auto")
print(f"on {backend.device}: largest difference {gn.check_activation(squareplus, backend):.1e}")

data = gn.load_dataset("mnist-5k")
for activation in (squareplus, "relu", [squareplus, gn.ACTIVATIONS["tanh"]]):
    model = gn.MLP([784, 50, 30, 10], activation=activation)  # backend=backend trains it there
    result = gn.train(model, data, iterations=300)
    print(f"{model.description:33} test accuracy {result.test_accuracy:.4f}")

# A wrong derivative does not pass:
wrong = gn.activation("wrong", lambda x: x * x, lambda x: 3 * x, "x * x", "ACC(3) * x")
try:
    gn.check_activation(wrong)
except gn.UsageError as error:
    print(f"refused: {error}")
