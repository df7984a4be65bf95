"""The record as tables for research: Arrow, polars, pandas; and what of it is missing."""
