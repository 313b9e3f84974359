"""``python -m aktis.cli``, for where the command itself is not on the path."""

from aktis.cli import main

main()
