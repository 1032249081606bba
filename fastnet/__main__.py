"""``python -m fastnet``: the command line."""

from fastnet.cli import main

if __name__ == "__main__":
    main()
