"""The network: the MLP and its layers, initial weights, evaluation, the model file and export."""
