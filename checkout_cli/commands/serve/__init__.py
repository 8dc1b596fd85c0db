"""The HTTP endpoints and the metrics (extra ``[serve]``); nothing else imports what that extra brings."""
