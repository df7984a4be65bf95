"""The database: the only home of asyncpg and of SQL.

``timescale`` writes, ``migrate`` makes and checks the tables, ``tier`` knows what the server can do,
``queries`` reads, ``setaside`` and ``leftover`` keep in files what no table could take.
"""
