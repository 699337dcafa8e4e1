/** `bun echo-server.ts PORT`: gives back whatever comes, with room for hundreds of connections that come at once. */

import { createServer } from "node:net";

createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
}).listen(Number(process.argv[2]), "127.0.0.1", 511, () => console.log("listening"));
