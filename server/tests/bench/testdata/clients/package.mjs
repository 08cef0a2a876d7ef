// The npm package. With UPDATES it reads that many updates of a watch and reports what each took; without, it asks for one status.
import { connect, Status } from "@verification-status/client";

const client = connect(process.env.TARGET, { plaintext: true });
const subject = { session: "vs_Bench" };
const updates = Number(process.env.UPDATES ?? 0);
if (updates) {
  let began, seen = 0;
  for await (const { verification } of client.watch(subject)) {
    began ??= { cpu: process.cpuUsage(), time: performance.now() };
    seen += verification.status > 0;
    if (seen === updates) break;
  }
  const { user, system } = process.cpuUsage(began.cpu);
  console.log(JSON.stringify({ cpuMicros: user + system, wallMicros: (performance.now() - began.time) * 1000, rss: process.memoryUsage.rss() }));
} else {
  console.log(Status[(await client.status(subject)).status]);
}
client.close();
