"""One folder for each word that is typed after ``checkoutctl``: the command, its operations and its views."""
