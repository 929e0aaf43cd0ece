// The pages as a browser shows them: signs in, consents, denies, cancels, withdraws, by keyboard alone, in both themes, at 360 px;
// axe-core on every page. Prints one line of JSON. Arguments: one JSON object, see `browser_pages.rs`.
import { createRequire } from 'node:module';
import https from 'node:https';
import fs from 'node:fs';
import path from 'node:path';

const options = JSON.parse(process.argv[2]);
const require = createRequire(path.join(options.modules, 'x.js'));
const { chromium } = require('playwright-core');
const axeSource = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const report = { axe: {}, serious: 0, facts: [] };
const fact = (name, ok, more) => {
  report.facts.push({ name, ok: Boolean(ok), ...(more === undefined ? {} : { more }) });
};

// The client: another origin, which only notes where the browser arrived.
const arrived = [];
const client = https.createServer({ cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) }, (request, response) => {
  if (request.url.startsWith('/cb')) arrived.push({ method: request.method, url: request.url });
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><html lang="en"><title>client</title><h1>client</h1></html>');
});
await new Promise((resolve) => client.listen(options.clientPort, '127.0.0.1', resolve));

const browser = await chromium.launch({
  executablePath: options.chromium,
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const violations = [];
const newContext = async (more = {}) => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 }, ...more });
  context.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) violations.push(message.text());
  });
  return context;
};

const authorize = (more = {}) => {
  const url = new URL(options.issuer + '/authorize');
  const parameters = {
    response_type: 'code', client_id: options.clientId, redirect_uri: `https://localhost:${options.clientPort}/cb`,
    scope: options.scope, state: 'a state', code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256', ...more,
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
};
const signIn = async (page) => {
  await page.fill('#username', options.user);
  await page.fill('#password', options.password);
  await page.click('#login-submit');
};
// Axe needs a script; pages forbid all. It is run through the debugging protocol in an isolated world, so that the policy stays in force.
const look = async (page, name) => {
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send('Page.getFrameTree');
  const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'axe' });
  await session.send('Runtime.evaluate', { contextId: executionContextId, expression: axeSource + ';0' });
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
    contextId: executionContextId, awaitPromise: true, returnByValue: true,
    expression: 'axe.run(document).then(r => JSON.stringify(r.violations.map(v => ({ id: v.id, impact: v.impact, nodes: v.nodes.map(n => n.html.slice(0, 160)) }))))',
  });
  if (exceptionDetails) throw new Error(`axe: ${JSON.stringify(exceptionDetails).slice(0, 400)}`);
  const found = JSON.parse(result.value);
  report.axe[name] = found;
  report.serious += found.filter((violation) => ['serious', 'critical'].includes(violation.impact)).length;
  const { result: width } = await session.send('Runtime.evaluate', { contextId: executionContextId, returnByValue: true, expression: 'document.documentElement.scrollWidth - document.documentElement.clientWidth' });
  fact(`${name}: no sideways scrolling`, width.value <= 0, width.value);
  if (options.shots) await page.screenshot({ path: path.join(options.shots, `${name}.png`), fullPage: true });
  await session.detach();
};

// A device asks; the user denies one and connects another.
const connectDevice = async (page, kind) => {
  for (const decision of ['deny', 'approve']) {
    const form = { client_id: options.deviceClientId, scope: 'accounts' };
    const asked = await (await page.context().request.post(options.issuer + '/device_authorization', { form })).json();
    await page.goto(asked.verification_uri);
    if (decision === 'deny') {
      await look(page, `device-${kind}`);
      await page.fill('#user-code', 'BBBB-BBBB');
      await page.click('#device-continue');
      fact(`${kind}: a wrong code is refused`, await page.locator('#code-refused').isVisible());
      await look(page, `device-refused-${kind}`);
    }
    await page.fill('#user-code', asked.user_code.toLowerCase());
    await page.click('#device-continue');
    if (decision === 'deny') await look(page, `device-consent-${kind}`);
    await page.click(`#device-${decision}`);
    fact(`${kind}: a device, ${decision}`, page.url().endsWith(decision === 'deny' ? 'done=denied' : 'done=approved') && (await page.getByRole('status').isVisible()), page.url());
    if (decision === 'approve') await look(page, `device-connected-${kind}`);
  }
};

try {
  // Every page, in both themes and narrow.
  for (const [kind, more] of [
    ['light', { colorScheme: 'light' }], ['dark', { colorScheme: 'dark' }],
    ['360', { colorScheme: 'light', viewport: { width: 360, height: 740 } }], ['390-dark', { colorScheme: 'dark', viewport: { width: 390, height: 844 } }],
  ]) {
    const context = await newContext({ javaScriptEnabled: true, ...more });
    const page = await context.newPage();
    await page.goto(authorize());
    await look(page, `login-${kind}`);
    await page.fill('#username', options.user);
    await page.fill('#password', 'wrong');
    await page.click('#login-submit');
    fact(`${kind}: a wrong password is refused`, await page.locator('#login-refused').isVisible());
    await look(page, `login-refused-${kind}`);
    await signIn(page);
    await look(page, `consent-${kind}`);
    const deny = await page.locator('#consent-deny').boundingBox();
    const approve = await page.locator('#consent-approve').boundingBox();
    fact(`${kind}: Deny and Allow are the same size`, Math.abs(deny.width - approve.width) < 1 && Math.abs(deny.height - approve.height) < 1 && deny.height >= 44);
    await page.click('#consent-approve');
    await page.waitForURL(/\/cb/);
    await page.goto(options.issuer + '/grants');
    await look(page, `grants-${kind}`);
    await page.locator('button[value=withdraw]').first().click();
    fact(`${kind}: withdrawn`, await page.getByRole('status').isVisible());
    await look(page, `grants-withdrawn-${kind}`);
    if (kind === 'light') {
      await connectDevice(page, kind);
    } else {
      // Every code that is looked at counts as a guess, and there are so many a minute.
      await page.goto(options.issuer + '/device');
      await look(page, `device-${kind}`);
    }
    await page.goto(options.issuer + '/grants');
    await page.click('#sign-out');
    await look(page, `signed-out-${kind}`);
    await page.goto(options.issuer + '/sign-in?to=grants');
    await look(page, `sign-in-${kind}`);
    await page.goto(authorize({ redirect_uri: 'https://evil.example/' }));
    fact(`${kind}: the error page`, (await page.textContent('#error-code')) === 'invalid_request');
    await look(page, `error-${kind}`);
    await context.close();
  }

  // Outcomes, at a client of another origin, without scripts.
  const outcome = async (name, act, expected) => {
    const context = await newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    arrived.length = 0;
    await page.goto(authorize());
    await act(page);
    await page.waitForURL(/\/cb/);
    const last = arrived.at(-1);
    const found = Object.fromEntries(new URL(last.url, 'https://client').searchParams);
    if (found.code) found.code = 'a code';
    fact(name, last.method === 'GET' && JSON.stringify(found) === JSON.stringify({ ...expected, state: 'a state', iss: options.issuer }), found);
    await context.close();
  };
  await outcome('consents', async (page) => { await signIn(page); await page.click('#consent-approve'); }, { code: 'a code' });
  await outcome('denies', async (page) => { await signIn(page); await page.click('#consent-deny'); }, { error: 'access_denied' });
  await outcome('cancels', async (page) => { await page.click('#login-cancel'); }, { error: 'access_denied' });

  // By keyboard alone.
  await outcome('by keyboard', async (page) => {
    await page.locator('#username:focus').waitFor();
    await page.keyboard.type(options.user);
    await page.keyboard.press('Tab');
    await page.keyboard.type(options.password);
    await page.keyboard.press('Enter');
    await page.waitForURL(/consent/);
    const focused = () => page.evaluate(() => 0).catch(() => 0).then(() => page.locator(':focus').getAttribute('id').catch(() => null));
    for (let step = 0; step < 12 && (await focused()) !== 'consent-approve'; step += 1) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
  }, { code: 'a code' });

  // Two tabs at once.
  {
    const context = await newContext();
    const pages = [await context.newPage(), await context.newPage()];
    await Promise.all(pages.map((page, index) => page.goto(authorize({ state: `tab ${index}` }))));
    for (const [index, page] of pages.entries()) {
      arrived.length = 0;
      await signIn(page);
      await page.click('#consent-approve');
      await page.waitForURL(/\/cb/);
      fact(`tab ${index} finishes`, new URL(arrived.at(-1).url, 'https://client').searchParams.get('state') === `tab ${index}`);
    }
    await context.close();
  }

  // The theme switch, and cookies as the browser keeps them.
  {
    const context = await newContext({ colorScheme: 'light' });
    const page = await context.newPage();
    await page.goto(authorize());
    const before = page.url();
    await page.click('button[name=theme][value=dark]');
    fact('the theme switch comes back to the page', page.url() === before && (await page.locator('html').getAttribute('data-theme')) === 'dark');
    await look(page, 'login-dark-chosen');
    await signIn(page);
    const cookies = (await context.cookies()).filter((cookie) => cookie.name.includes('keybound'));
    fact('cookies are __Host-, Secure, HttpOnly and Lax', cookies.length >= 3 && cookies.every((cookie) => cookie.name.startsWith('__Host-') && cookie.secure && cookie.httpOnly && cookie.sameSite === 'Lax' && cookie.path === '/'));

    // Another site that frames the page, or sends its form.
    const evil = await context.newPage();
    await evil.route('https://evil.example/**', (route) => route.fulfill({ contentType: 'text/html', body: `<iframe src="${before.replace('login', 'consent')}"></iframe><form id="f" method="post" action="${before.replace('login', 'consent')}"><input name="decision" value="approve"></form>` }));
    await evil.goto('https://evil.example/');
    await evil.waitForTimeout(300);
    const framed = evil.frames().find((frame) => frame !== evil.mainFrame());
    fact('the consent page is not framed', !(await framed?.locator('#consent-form').count().catch(() => 0)));
    arrived.length = 0;
    await evil.evaluate(() => document.getElementById('f').submit());
    await evil.waitForURL((url) => url.href.startsWith(options.issuer));
    fact('a form of another site is refused', (await evil.textContent('#error-code')) === 'invalid_request' && arrived.length === 0);
    await context.close();
  }
} catch (error) {
  fact(`the script ran to its end: ${error.message.slice(0, 600)}`, false);
}
report.policyViolations = violations.filter((text) => !text.includes('frame-ancestors') && !/script/i.test(text));
await browser.close();
client.close();
client.closeAllConnections?.();
console.log(JSON.stringify(report));
