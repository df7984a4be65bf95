-- A publication FOR ALL TABLES (Debezium, Supabase, blue/green upgrades) forbids every UPDATE and DELETE of a table
-- without a replica identity, and a deferrable key cannot be one: nothing at all could be stored. The whole row can.
-- It costs nothing where nothing is replicated logically.

ALTER TABLE coverage REPLICA IDENTITY FULL;
ALTER TABLE candle_coverage REPLICA IDENTITY FULL;
ALTER TABLE dropped REPLICA IDENTITY FULL;
ALTER TABLE candle_dropped REPLICA IDENTITY FULL;
