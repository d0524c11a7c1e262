"""Policy gradients of stored rollouts, for many rows of weights at once, and how good an estimate each row is."""
