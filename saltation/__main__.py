"""``python -m saltation``: the command line."""

from saltation.cli import main

if __name__ == "__main__":
    main()
