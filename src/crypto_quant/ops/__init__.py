"""What an operator sees: log lines, from events."""
