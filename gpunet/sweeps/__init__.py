"""Many runs and the choice among them."""
