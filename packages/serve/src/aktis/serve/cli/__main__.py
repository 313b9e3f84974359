"""``python -m aktis.serve.cli``."""

from aktis.serve.cli import main

if __name__ == "__main__":
    main()
