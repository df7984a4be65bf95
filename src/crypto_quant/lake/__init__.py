"""The record as files: a Parquet lake and other tools' formats, written whole or not at all; and the way back."""
