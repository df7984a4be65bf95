"""What ``doctor`` decides: facts in, verdicts out. It looks at nothing itself; every limit is stated here."""
