// @grpc/grpc-js alone, as its documentation shows it: it resumes nothing. See package.mjs for what it does.
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const definition = loadSync("verification/v1/verification.proto", { includeDirs: [process.env.API], longs: Number, enums: String });
const { VerificationService } = grpc.loadPackageDefinition(definition).verification.v1;
const client = new VerificationService(process.env.TARGET, grpc.credentials.createInsecure());
const subject = { sessionId: "vs_Bench" };
const updates = Number(process.env.UPDATES ?? 0);
if (updates) {
  let began, seen = 0;
  const call = client.watchStatus(subject);
  call.on("error", () => {}); // of the cancel below
  for await (const { verification } of call) {
    began ??= { cpu: process.cpuUsage(), time: performance.now() };
    seen += verification.status !== "STATUS_UNSPECIFIED";
    if (seen === updates) break;
  }
  const { user, system } = process.cpuUsage(began.cpu);
  console.log(JSON.stringify({ cpuMicros: user + system, wallMicros: (performance.now() - began.time) * 1000, rss: process.memoryUsage.rss() }));
  call.cancel();
} else {
  client.getStatus(subject, (error, answer) => {
    if (error) throw error;
    console.log(answer.verification.status.replace("STATUS_", ""));
  });
}
