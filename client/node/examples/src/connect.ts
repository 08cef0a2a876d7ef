import { readFile } from "node:fs/promises";
import { connect } from "@verification-status/client";

const client = connect(["status-a.example.com:50051", "status-b.example.com:50051"], {
  tls: { caFile: "ca.pem", certFile: "client.pem", keyFile: "client.key" }, // the last two are read again for each connection
  token: () => readFile("/run/secrets/token", "utf8"), // asked for at each call
});
console.log(await client.status({ reference: "user-42" }, { timeout: 5_000 }));
client.close();
