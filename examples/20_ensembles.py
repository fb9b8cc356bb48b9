"""Lesson 20: several networks, to know how good one is and to be better than one.

Networks that differ in the seed, or in the examples that they were stopped by, err in different places. What one of
them reaches on a test split is partly luck; what several reach, each on examples that it has not seen, says how much.
And where they are asked together, the mean of their probabilities is right more often than most of them are.
"""

import gpunet as gn

data = gn.load_dataset("mnist-5k")


def trainer(part: gn.Dataset, seed: int = 0) -> gn.Trainer:
    """A small network on a part of the data, stopped where its validation loss is lowest."""
    model = gn.MLP([data.features, 50, 30, data.outputs], seed=seed)
    return gn.Trainer(model, part, epochs=15, early_stopping=3, log_every=1000)


# Cross-validation: five networks, each judged by the fifth of the training examples that it was not trained on. Their
# steps take turns here; on a GPU they are launched together.
found = gn.cross_validate(trainer, data, folds=5)
print(f"five folds: accuracy {found.mean['accuracy']:.4f}, standard deviation {found.deviation['accuracy']:.4f}")

# An ensemble: other seeds too, and each holds out another fifth, so that all examples are trained on by four of them.
several = gn.train_ensemble(trainer, data, 5, validation=0.2)
for number, score in enumerate(several.scores["test_accuracy"], 1):
    print(f"network {number}: test accuracy {score:.4f}")
ensemble = several.ensemble
print(f"all together: test accuracy {gn.evaluate(ensemble, data.test).accuracy:.4f}")

# Where they disagree, they are more often wrong: the probability that is spread widest comes from the hardest digits.
assert data.test is not None
apart = ensemble.spread(data.test.inputs).max(axis=1)
wrong = ensemble.predict(data.test.inputs) != data.test.labels
print(f"spread where they are right {apart[~wrong].mean():.3f}, where they are wrong {apart[wrong].mean():.3f}")
