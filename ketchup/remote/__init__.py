"""Models behind an OpenAI-compatible server: how it is reached, calls tried again, and what its refusals mean."""
