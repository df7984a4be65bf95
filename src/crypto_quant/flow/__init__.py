"""The rooms that await: they move what the pure modules decide, between seams."""
