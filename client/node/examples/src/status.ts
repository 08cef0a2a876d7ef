import { connect, Status, verificationToJson } from "@verification-status/client";

const client = connect("127.0.0.1:50051", { plaintext: true }); // one for the program; without plaintext: TLS
const verification = await client.status({ reference: "user-42" }, { timeout: 2_000 });
console.log(Status[verification.status], verification.lastError?.reason ?? "", verification.retry?.allowed ?? false);
console.log(JSON.stringify(verificationToJson(verification)));
client.close();
