"""``python -m aktis.rllib.cli``."""

from aktis.rllib.cli import main

if __name__ == "__main__":
    main()
