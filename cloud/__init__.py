"""The collector: verify, replay, book, account, serve."""
