"""`python -m sparring` is the `sparring` command."""

from sparring.cli import main

if __name__ == "__main__":
    main()
