"""A teacher behind a server: two numbers a token, what is checked of it before work, and the answers kept."""
