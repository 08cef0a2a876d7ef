// Prints what the mails need of the page's table of words:
//
//	node words.mjs >words.json
import { tables } from "../bff/static/words.js";

const words = {};
for (const [language, { page, verified, failed, denied, codes, refusals }] of Object.entries(tables)) {
  words[language] = {
    verified, denied, codes, refusals,
    failed: { ...failed, leftOne: failed.left(1), leftMany: failed.left("{n}"), later: failed.later("{time}") },
    call: page.call,
  };
}
process.stdout.write(`${JSON.stringify(words, null, 1)}\n`);
