"""`python -m tlsio` is the command `tlsio`."""

from tlsio.cli import main

main()
