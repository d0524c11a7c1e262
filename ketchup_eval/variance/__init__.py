"""Monte-Carlo bias and variance of K-step returns."""
