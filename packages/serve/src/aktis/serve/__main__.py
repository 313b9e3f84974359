"""``python -m aktis.serve``: the command ``serve``."""

from aktis.serve.cli import main

if __name__ == "__main__":
    main()
