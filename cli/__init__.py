"""The command line: it draws what the library yields, and holds no numerics."""
