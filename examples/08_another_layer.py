"""Lesson 8: another hidden layer, and another.

A layer is one more number in the list of sizes. The dimensions of its weights follow from its neighbours. Deeper is not
better of itself: with weights that start too small, the signal and the gradient shrink from layer to layer and less is
learned in the same time, until the initial weights fit the width (He's).
"""

import gpunet as gn

data = gn.load_dataset("mnist-5k")

for sizes in ([784, 50, 10], [784, 50, 30, 10], [784, 50, 30, 20, 10], [784, 50, 50, 50, 50, 50, 50, 10]):
    for initializer in ("truncated-normal", "he-normal"):
        model = gn.MLP(sizes, initializer=initializer)
        result = gn.train(model, data, optimizer=gn.SGD(0.1), iterations=500)
        name = "-".join(map(str, sizes))
        print(f"{name:29} {initializer:16}  train {result.train_accuracy:.4f}  test {result.test_accuracy:.4f}")

model = gn.MLP([784, 50, 30, 20, 10])
print("\nthe shapes of 784-50-30-20-10:")
for name, array in zip(model.parameter_names, model.parameters):
    print(f"{name}  {array.shape}")
