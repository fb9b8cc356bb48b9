"""Lesson 18: tables, of classes and of numbers to be predicted.

A table has columns of different kinds and in different units. What is fitted to its training rows, the preparation,
brings them to one scale: a network that reads a price in dollars beside an age in years would look at the price alone.
The targets of a regression are standardised too, and predictions come back in their own units.
"""

import numpy as np

import gpunet as gn

# Classes: three kinds of wine. What was taken for what stands in `facts`.
wine = gn.load_dataset("wine")
for what, how in wine.facts:
    print(f"{what:9} {how}")
network = gn.MLP([wine.features, 32, wine.outputs])
result = gn.train(network, wine, optimizer=gn.Adam(0.01), iterations=200)
print(f"wine: test accuracy {result.test_accuracy:.4f}")

# The same without scaling: the column of the largest numbers, proline, drowns all others.
raw = gn.load_dataset("wine", scale="none")
result = gn.train(gn.MLP([raw.features, 32, raw.outputs]), raw, optimizer=gn.Adam(0.01), iterations=200)
print(f"wine, as the numbers are: test accuracy {result.test_accuracy:.4f}")

# A number to be predicted: the loss is the squared error of standardised targets, R2 and RMSE are in their units.
diabetes = gn.load_dataset("diabetes", clip=True).hold_out(0.2)
network = gn.MLP([diabetes.features, 32, 1], loss="mse")
result = gn.train(network, diabetes, optimizer=gn.Adam(0.003), iterations=2000, early_stopping=10)
print(f"diabetes: test R2 {result.test_r2:.3f}, RMSE {result.test_rmse:.1f}, stopped: {result.stopped}")

# A model takes a table by the names of its columns, in any order; what is missing is taken for the median.
patient = {name: [np.nan] for name in diabetes.preparation.column_names}
heavy = {**patient, "bmi": [40.0]}
usual, high = network.predict(patient)[0], network.predict(heavy)[0]
print(f"a typical patient {usual:.1f}, one of a high body mass index {high:.1f}")
