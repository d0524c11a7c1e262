"""Models: loading them, one interface over two architectures, and the pass that scores rollouts."""
