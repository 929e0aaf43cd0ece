// Chromium by npm's playwright-core, and what is asked of every page that it shows: axe-core finds nothing serious in either theme, no
// page scrolls sideways, and the console stays empty.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';

// Where a test that is in a hurry would give up. A busy machine takes its time; a missing page is missed long before the gate ends.
const PATIENCE_MS = 60_000;
// Both themes are judged, each at another width; with pictures all four.
const JUDGED = [['light', 1280], ['dark', 390]];
const PICTURED = [['light', 1280], ['dark', 390], ['dark', 1280], ['light', 390]];
// WCAG 2.2 §1.4.10.
const NARROWEST = 320;
const WIDE = { width: 1280, height: 900 };

const AXE = `axe.run(document).then((found) => JSON.stringify(found.violations.map((violation) => ({
  id: violation.id, impact: violation.impact, nodes: violation.nodes.map((node) => node.html.slice(0, 160)),
}))))`;

export class Browser {
  facts = [];
  axe = {};
  serious = 0;

  static async launch(options) {
    const browser = new Browser();
    const require = createRequire(path.join(options.modules, 'x.js'));
    const { chromium } = require('playwright-core');
    browser.axeSource = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
    browser.shots = options.shots;
    browser.chromium = await chromium.launch({
      executablePath: options.chromium,
      headless: true,
      timeout: PATIENCE_MS,
      args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
        '--disable-sync', '--disable-dev-shm-usage',
      ],
    });
    return browser;
  }

  fact(name, ok, more) {
    this.facts.push({ name, ok: Boolean(ok), ...(more === undefined ? {} : { more }) });
  }

  // A browser of somebody: cookies and cache of their own. What its console says is in `complaints`.
  async somebody(more = {}) {
    const context = await this.chromium.newContext({ ignoreHTTPSErrors: true, viewport: WIDE, reducedMotion: 'reduce', ...more });
    context.setDefaultTimeout(PATIENCE_MS);
    context.setDefaultNavigationTimeout(PATIENCE_MS);
    context.complaints = [];
    context.on('console', (message) => {
      const isStatus = /^Failed to load resource: the server responded with a status of 4\d\d/.test(message.text());
      // Chromium says so of every document whose status is an error, which those of a refusal have to have.
      if (['error', 'warning'].includes(message.type()) && !isStatus) context.complaints.push(message.text());
    });
    context.on('weberror', (error) => context.complaints.push(String(error.error())));
    context.on('requestfailed', (request) => {
      const why = request.failure()?.errorText ?? '';
      if (why !== 'net::ERR_ABORTED') context.complaints.push(`${request.method()} ${request.url()} ${why}`);
    });
    return context;
  }

  // Closes it, and holds against it what its console said.
  async leave(context, name) {
    this.fact(`${name}: nothing in the console`, context.complaints.length === 0, context.complaints);
    await context.close();
  }

  async close() {
    await this.chromium.close();
  }

  // Judges the page that is shown. Axe needs a script and pages forbid all: it runs through the debugging protocol, in a world of its
  // own, so that the policy stays in force.
  async look(page, name) {
    const session = await page.context().newCDPSession(page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'axe' });
    const evaluate = async (expression) => {
      const answer = await session.send('Runtime.evaluate', { contextId, expression, awaitPromise: true, returnByValue: true });
      if (answer.exceptionDetails) throw new Error(`${name}: ${JSON.stringify(answer.exceptionDetails).slice(0, 400)}`);
      return answer.result.value;
    };
    await evaluate(`${this.axeSource};0`);
    const before = page.viewportSize();
    for (const [theme, width] of this.shots ? PICTURED : JUDGED) {
      await page.emulateMedia({ colorScheme: theme });
      await page.setViewportSize({ ...before, width });
      const found = JSON.parse(await evaluate(AXE));
      this.axe[`${name} ${theme} ${width}`] = found;
      this.serious += found.filter((violation) => ['serious', 'critical'].includes(violation.impact)).length;
      await this.#fits(evaluate, `${name} at ${width}`);
      if (this.shots) await page.screenshot({ path: path.join(this.shots, `${name}-${theme}-${width}.png`), fullPage: true });
    }
    await page.setViewportSize({ ...before, width: NARROWEST });
    await this.#fits(evaluate, `${name} at ${NARROWEST}`);
    if (this.shots) await page.screenshot({ path: path.join(this.shots, `${name}-${NARROWEST}.png`), fullPage: true });
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(before);
    await session.detach();
  }

  async #fits(evaluate, name) {
    const more = await evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    this.fact(`${name}: no sideways scrolling`, more <= 0, more);
  }
}

// Presses a button and waits for what shows that its answer is there.
export async function press(page, button, shown) {
  await page.locator(button).first().click();
  await (shown instanceof RegExp ? page.waitForURL(shown) : page.locator(shown).first().waitFor());
}

// Presses Tab until that element has the focus. Every stop on the way has to show its focus.
export async function tabTo(page, id) {
  for (let stops = 0; stops < 40; stops += 1) {
    const [focused, outline] = await page.evaluate(() => [document.activeElement?.id ?? '', getComputedStyle(document.activeElement ?? document.body).outlineStyle]);
    if (focused === id) return;
    if (stops > 0 && outline === 'none') throw new Error(`the focus is not seen, ${stops} stops before ${id}`);
    await page.keyboard.press('Tab');
  }
  throw new Error(`${id} is not reached by Tab`);
}
