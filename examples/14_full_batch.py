"""Lesson 14: why 100 examples in a step, and not all of them?

The gradient over 100 examples points nearly where the gradient over all points, and costs a fortieth of it here. In
the time of one exact step forty good ones can be taken. Each run below may look at the same number of examples.
"""

import gpunet as gn

data = gn.load_dataset("mnist-5k")
EXAMPLES = 10 * len(data.train)  # that each of them may look at: ten epochs

print("batch  steps  train loss  test accuracy  seconds")
for batch, rate in ((10, 0.02), (100, 0.1), (1000, 0.3), ("all", 0.5)):
    size = batch if isinstance(batch, int) else len(data.train)
    model = gn.MLP([784, 50, 30, 10])
    result = gn.train(model, data, optimizer=gn.SGD(rate), batch_size=batch, iterations=EXAMPLES // size)
    print(
        f"{batch!s:>5}  {result.iterations:5}  {result.train_loss:10.4f}  {result.test_accuracy:13.4f}"
        f"  {result.train_seconds:7.2f}"
    )
