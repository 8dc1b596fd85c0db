"""``python -m checkout_cli`` is ``checkoutctl``."""

from checkout_cli.cli.main import main

if __name__ == "__main__":
    main()
