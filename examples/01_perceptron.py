"""Lesson 1: a single neuron, the perceptron.

It takes the weighted sum of its inputs and looks at the sign: positive is one class, negative the other. Here one
perceptron tells threes from eights. Its learning rule moves the weights only where it was wrong, by the input times the
learning rate, which is what the loss "perceptron" descends with batches of a single example.
"""

import gpunet as gn

data = gn.load_dataset("mnist-5k").select_classes([3, 8])  # class 0: threes, class 1: eights

model = gn.MLP([784, 1], loss="perceptron")  # no hidden layer, one output: a single neuron
print(f"one neuron with {model.parameter_count} parameters, {len(data.train)} examples of 3 and 8")

for record in gn.training_steps(model, data, optimizer=gn.SGD(0.1), batch_size=1, iterations=3000, log_every=1000):
    if record.event == "step":
        print(f"{record.iteration:4} examples seen")
    else:
        print(f"train accuracy {record.train_accuracy:.4f}, test accuracy {record.test_accuracy:.4f}")

# The sign is all there is to its answer:
sums = model.forward(data.test.images[:8])[:, 0]
for weighted_sum, label in zip(sums, data.test.labels[:8]):
    answer = 8 if weighted_sum > 0 else 3
    print(f"weighted sum {weighted_sum:8.3f}  ->  {answer}, it is {(3, 8)[label]}")
