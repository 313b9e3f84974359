"""``python -m aktis.tune.cli``."""

from aktis.tune.cli import main

if __name__ == "__main__":
    main()
