"""`python -m ketchup_eval.cli`, for launchers that start modules."""

from ketchup_eval.cli import main

if __name__ == "__main__":
    main()
