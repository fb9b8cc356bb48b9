"""Lesson 6: few neurons and many.

With two neurons in the hidden layer everything the network knows of an image has to pass through two numbers. More of
them fit the training set ever better; what they gain on the test set ends sooner.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k")
results = {}

print("neurons  parameters   train    test     gap")
for neurons in (1, 2, 5, 10, 20, 50, 100, 200):
    model = gn.MLP([784, neurons, 10])
    results[neurons] = result = gn.train(model, data, optimizer=gn.SGD(0.1), iterations=500, log_every=20)
    gap = result.train_accuracy - result.test_accuracy
    print(
        f"{neurons:7} {model.parameter_count:11}  {result.train_accuracy:.4f}  {result.test_accuracy:.4f}  {gap:+.4f}"
    )

save_picture(gn.plot_history, results, title="Hidden neurons")
