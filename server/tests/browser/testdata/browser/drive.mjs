// Drives Chromium as a test says. In: a JSON object a line, {"do": name, ...}. Out: a JSON object a line,
// {"result": ...} or {"error": text}. It ends with its standard input.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: ['--no-sandbox', '--disable-dev-shm-usage'], // containers' root, and their small /dev/shm
});
const axe = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const problems = []; // what a person never sees: script errors, and what the page's policy refused
let context, page;

// begin opens a browser of another person on a phone. Its clock can be moved on: see pass.
async function begin({ locale = 'en-GB', javaScript = true } = {}) {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale, javaScriptEnabled: javaScript });
  context.setDefaultTimeout(20_000);
  await context.addInitScript(() => { // all that the page said of its connection, however briefly
    window.connections = [];
    new MutationObserver(() => window.connections.push(document.body?.dataset.connection)).observe(document, { subtree: true, attributeFilter: ['data-connection'] });
  });
  page = await context.newPage();
  if (javaScript) await page.clock.install();
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => /Content.Security.Policy|Uncaught/i.test(message.text()) && problems.push(message.text()));
}
await begin();

const steps = {
  open: ({ url }) => page.goto(url).then(() => null),
  see: ({ text }) => page.getByText(text).filter({ visible: true }).first().waitFor().then(() => null),
  press: ({ name }) => page.getByRole('button', { name }).click(),
  follow: ({ name }) => page.getByRole('link', { name }).first().click(),
  fill: ({ label, text }) => page.getByLabel(label).fill(text),
  check: ({ label }) => page.getByLabel(label).check(),
  value: ({ label }) => page.getByLabel(label).inputValue(),
  keys: ({ keys }) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve()),
  submit: async ({ outcome }) => { // on the simulated Stripe's page
    const button = page.locator(`button[value="${outcome}"]`);
    await button.waitFor({ state: 'attached' });
    if (!(await button.isVisible())) await page.getByText('more outcomes').click();
    await button.click();
  },
  begin,
  pass: ({ ms }) => page.clock.fastForward(ms),
  // No timer runs any more. The clock runs on until pauseAt arrives, and cannot go back.
  freeze: () => page.evaluate(() => Date.now()).then((now) => page.clock.pauseAt(now + 500)),
  thaw: async ({ event }) => { // a minute later; headless browsers freeze no tab themselves, and tell none
    await page.clock.setSystemTime(await page.evaluate(() => Date.now() + 60_000));
    await page.clock.resume();
    await page.evaluate((name) => document.dispatchEvent(new Event(name)), event);
  },
  answer: async ({ path, body, type, status = 200, after = 0 }) => { // in the server's place, for pictures
    await page.unroute(path);
    await page.route(path, async (route) => {
      await new Promise((done) => setTimeout(done, after));
      await route.fulfill({ status, body, contentType: type }).catch(() => {}); // a page that is gone
    });
  },
  offline: ({ on }) => context.setOffline(on),
  text: () => page.innerText('body'),
  html: () => page.content(),
  cookies: () => context.cookies(),
  focused: () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent),
  connections: () => page.evaluate(() => window.connections),
  problems: () => problems,
  look: async ({ width, dark }) => {
    await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height: 844 });
  },
  shot: ({ path }) => page.screenshot({ path, fullPage: true }).then(() => null),
  flaws: () => page.evaluate(flaws),
  axe: async () => { // through the debugger's own door, which the page's policy does not close
    const session = await context.newCDPSession(page);
    const run = `${axe}; axe.run().then((found) => found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html + ' ' + n.failureSummary).join(' | ')))`;
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression: run, awaitPromise: true, returnByValue: true });
    await session.detach();
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  },
};

// flaws names what is hard to read or to hit: text under WCAG's contrast AA, a page that must be
// scrolled sideways, buttons under 44 pixels, controls without a name. It runs in the page.
function flaws() {
  const found = [];
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = channels(color).slice(0, 3).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if ((channels(color)[3] ?? 1) === 1) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  for (const element of document.body.querySelectorAll('*')) {
    const text = [...element.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data).join('').trim();
    if (!element.checkVisibility()) continue;
    if (text) {
      const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${text}`);
    }
    if (element.matches('button, a, input, select')) {
      const choice = element.matches('[type=radio], [type=checkbox]') && element.closest('label'); // a click on its label counts
      const target = choice || element;
      if (target.getBoundingClientRect().height < 44) found.push(`lower than 44 pixels: ${target.textContent.trim()}`);
      if (!element.textContent.trim() && !element.labels?.length && !element.ariaLabel) found.push(`no name: ${element.outerHTML}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth} pixels wide of ${innerWidth}`);
  if (document.querySelectorAll('h1').length !== 1 || !document.documentElement.lang || !document.title) found.push('no single h1, lang or title');
  return found;
}

console.log(JSON.stringify({ result: 'ready' }));
for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: (await steps[step.do](step)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.message}\nThe page says:\n${await page.innerText('body').catch(String)}` }));
  }
}
await browser.close();
