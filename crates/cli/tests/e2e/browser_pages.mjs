// Users at the pages, in a browser: every page is looked at; then they go through them without scripts, by keyboard, in two tabs, and
// against another site. Prints one line of JSON. Argument: one JSON object, see `browser_pages.rs`.
import https from 'node:https';
import fs from 'node:fs';

import { Browser, press, tabTo } from './browser.mjs';

const options = JSON.parse(process.argv[2]);
const { issuer } = options;
const callback = `https://localhost:${options.clientPort}/cb`;

// The client: another origin, which only notes where the browser arrived.
const arrived = [];
const client = https.createServer({ cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) }, (request, response) => {
  if (request.url.startsWith('/cb')) arrived.push({ method: request.method, url: request.url });
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><html lang="en"><title>client</title><link rel="icon" href="data:,"><h1>client</h1></html>');
});
await new Promise((resolve) => client.listen(options.clientPort, '127.0.0.1', resolve));

const browser = await Browser.launch(options);
const fact = browser.fact.bind(browser);

const authorize = (more = {}) => {
  const url = new URL(`${issuer}/authorize`);
  const parameters = {
    response_type: 'code', client_id: options.clientId, redirect_uri: callback, scope: options.scope, state: 'a state',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256', ...more,
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
};
const signIn = async (page, shown = '#consent-form') => {
  await page.fill('#username', options.user);
  await page.fill('#password', options.password);
  await press(page, '#login-submit', shown);
};
const signOut = async (page) => {
  await page.goto(`${issuer}/grants`);
  await press(page, '#sign-out', '#signed-out');
};
const post = (path, form, more = {}) => new Promise((resolve, reject) => {
  const body = new URLSearchParams(form).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length };
  const request = https.request(path, { method: 'POST', ca: fs.readFileSync(options.ca), headers, ...more }, (response) => {
    let text = '';
    response.on('data', (chunk) => { text += chunk; });
    response.on('end', () => (response.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(`${path}: ${text}`))));
  });
  request.on('error', reject);
  request.end(body);
});
const deviceCode = () => post(`${issuer}/device_authorization`, { client_id: options.deviceClientId, scope: 'accounts' });
const askByBackchannel = (message) => post(
  `${options.mutualTls}/bc-authorize`,
  { client_id: options.clientId, scope: options.scope, login_hint: options.user, binding_message: message },
  { cert: fs.readFileSync(options.clientCert), key: fs.readFileSync(options.clientKey) },
);

// Every page as it is, one after the other.
async function look() {
  const context = await browser.somebody();
  const page = await context.newPage();
  await page.goto(authorize());
  await browser.look(page, 'login');
  await page.fill('#username', options.user);
  await page.fill('#password', 'wrong');
  await press(page, '#login-submit', '#login-refused');
  await browser.look(page, 'login-refused');
  await signIn(page);
  await browser.look(page, 'consent');
  const [deny, approve] = await Promise.all(['#consent-deny', '#consent-approve'].map((id) => page.locator(id).boundingBox()));
  fact('Deny and Allow are the same size', Math.abs(deny.width - approve.width) < 1 && Math.abs(deny.height - approve.height) < 1 && deny.height >= 44);
  await press(page, '#consent-approve', /\/cb/);

  await askByBackchannel('W4SCT');
  await page.goto(`${issuer}/grants`);
  fact('the binding message is shown', (await page.locator('#waiting').textContent()).includes('W4SCT'));
  await browser.look(page, 'grants-waiting');
  await press(page, '#waiting button[value=approve]', '[role=status]');
  await browser.look(page, 'grants-approved');
  await press(page, 'button[value=withdraw]', '[role=status]:has-text("Withdrawn")');
  await browser.look(page, 'grants-withdrawn');

  await page.goto(`${issuer}/device`);
  await browser.look(page, 'device');
  await page.fill('#user-code', 'BBBB-BBBB');
  await press(page, '#device-continue', '#code-refused');
  await browser.look(page, 'device-refused');
  for (const decision of ['deny', 'approve']) {
    const asked = await deviceCode();
    await page.goto(asked.verification_uri);
    await page.fill('#user-code', asked.user_code.toLowerCase().replace('-', ' '));
    await press(page, '#device-continue', '#device-approve');
    if (decision === 'approve') await browser.look(page, 'device-confirmation');
    await press(page, `#device-${decision}`, '[role=status]');
    await browser.look(page, `device-${decision}`);
  }

  await signOut(page);
  await browser.look(page, 'signed-out');
  await page.goto(`${issuer}/sign-in?to=grants`);
  await browser.look(page, 'sign-in');
  await page.goto(authorize({ redirect_uri: 'https://evil.example/' }));
  fact('the error page', (await page.textContent('#error-code')) === 'invalid_request');
  await browser.look(page, 'error');
  await page.goto(`${issuer}/interaction/AAAAAAAAAAAAAAAAAAAAAA/consent`);
  await browser.look(page, 'error-foreign');
  await browser.leave(context, 'every page');
}

// A client that calls itself what it likes, and asks for as much as it can.
async function hostileClient() {
  const context = await browser.somebody();
  const page = await context.newPage();
  const details = [1, 2, 3].map((index) => ({
    type: 'payment_initiation', instructed_amount: { currency: 'EUR', amount: `${index}000.00` },
    creditor_name: `<b>Merchant</b> \u202eelbirret\u200b ${'A'.repeat(120)}`,
  }));
  await page.goto(authorize({ client_id: 'hostile', authorization_details: JSON.stringify(details), scope: options.hostileScope, resource: options.resource }));
  if (!page.url().startsWith(issuer)) throw new Error(`sent away to ${page.url()}`);
  await browser.look(page, 'login-hostile');
  await signIn(page);
  await browser.look(page, 'consent-hostile');
  const heading = await page.textContent('h1');
  fact('a name turns and hides nothing', !/[\u202a-\u202e\u2066-\u2069\u200b-\u200f]/.test(heading) && heading.includes('<b>'), heading);
  fact('a name makes no elements', (await page.locator('main b, main script, main img').count()) === 0);
  await press(page, '#consent-approve', /\/cb/);
  await page.goto(`${issuer}/grants`);
  fact('what was allowed is shown with its details', (await page.textContent('main')).includes('3000.00'));
  await browser.look(page, 'grants-hostile');
  await browser.leave(context, 'a hostile client');
}

// What the client is told, without scripts.
async function outcome(name, act, expected) {
  const context = await browser.somebody({ javaScriptEnabled: false });
  const page = await context.newPage();
  arrived.length = 0;
  await page.goto(authorize());
  await act(page);
  await page.waitForURL(/\/cb/);
  const last = arrived.at(-1);
  const found = Object.fromEntries(new URL(last.url, callback).searchParams);
  if (found.code) found.code = 'a code';
  fact(name, last.method === 'GET' && JSON.stringify(found) === JSON.stringify({ ...expected, state: 'a state', iss: issuer }), found);
  return { context, page };
}

async function withoutScripts() {
  for (const [name, act, expected] of [
    ['denies', async (page) => { await signIn(page); await press(page, '#consent-deny', /\/cb/); }, { error: 'access_denied' }],
    // The second form is sent before the first is answered, and its answer is the one that is shown.
    ['consents by a double click', async (page) => { await signIn(page); await page.locator('#consent-approve').dblclick({ noWaitAfter: true }); }, { code: 'a code' }],
    ['cancels', async (page) => { await press(page, '#login-cancel', /\/cb/); }, { error: 'access_denied' }],
  ]) {
    const { context } = await outcome(name, act, expected);
    await browser.leave(context, name);
  }
  const { context, page } = await outcome('consents', async (page) => { await signIn(page); await press(page, '#consent-approve', /\/cb/); }, { code: 'a code' });
  await page.goto(`${issuer}/grants`);
  await askByBackchannel('8472');
  await page.reload();
  await press(page, '#waiting button[value=deny]', '[role=status]:has-text("Denied")');
  const before = await page.locator('button[value=withdraw]').count();
  await press(page, 'button[value=withdraw]', '[role=status]:has-text("Withdrawn")');
  fact('without scripts: withdrawn', (await page.locator('button[value=withdraw]').count()) === before - 1);
  const asked = await deviceCode();
  await page.goto(`${asked.verification_uri}?user_code=${asked.user_code}`);
  await press(page, '#device-continue', '#device-approve');
  await press(page, '#device-approve', '[role=status]:has-text("Connected")');
  await signOut(page);
  fact('without scripts: signed out', !(await context.cookies()).some((cookie) => cookie.name.endsWith('session')));
  await browser.leave(context, 'without scripts');
}

// From sign-in to sign-out without a pointer.
async function byKeyboard() {
  const { context, page } = await outcome('by keyboard', async (page) => {
    // Typed before the page has moved the focus, the first letters would be lost.
    await page.locator('#username:focus').waitFor();
    await page.keyboard.type(options.user);
    await tabTo(page, 'password');
    await page.keyboard.type(options.password);
    await page.keyboard.press('Enter');
    await page.locator('#consent-form').waitFor();
    await tabTo(page, 'consent-approve');
    await page.keyboard.press('Enter');
  }, { code: 'a code' });
  const asked = await deviceCode();
  await page.goto(`${issuer}/device`);
  await page.locator('#user-code:focus').waitFor();
  await page.keyboard.type(asked.user_code);
  await page.keyboard.press('Enter');
  await page.locator('#device-approve').waitFor();
  await tabTo(page, 'device-deny');
  await page.keyboard.press('Space');
  await page.locator('[role=status]:has-text("Denied")').waitFor();
  await page.goto(`${issuer}/grants`);
  await tabTo(page, 'sign-out');
  await page.keyboard.press('Enter');
  await page.locator('#signed-out').waitFor();
  await browser.leave(context, 'by keyboard');
}

async function twoTabs() {
  const context = await browser.somebody();
  const pages = [await context.newPage(), await context.newPage()];
  await Promise.all(pages.map((page, index) => page.goto(authorize({ state: `tab ${index}` }))));
  for (const [index, page] of pages.entries()) {
    arrived.length = 0;
    await signIn(page);
    await press(page, '#consent-approve', /\/cb/);
    fact(`tab ${index} finishes`, new URL(arrived.at(-1).url, callback).searchParams.get('state') === `tab ${index}`);
  }
  await browser.leave(context, 'two tabs');
}

// The theme switch, cookies as the browser keeps them, and another site that frames the page or sends its form.
async function anotherSite() {
  const context = await browser.somebody({ colorScheme: 'light' });
  const page = await context.newPage();
  await page.goto(authorize());
  const login = page.url();
  await press(page, 'button[name=theme][value=dark]', 'html[data-theme=dark]');
  fact('the theme switch comes back to the page', page.url() === login);
  await signIn(page);
  const cookies = (await context.cookies()).filter((cookie) => cookie.name.includes('keybound'));
  fact('cookies are __Host-, Secure, HttpOnly and Lax', cookies.length >= 3 && cookies.every((cookie) => cookie.name.startsWith('__Host-') && cookie.secure && cookie.httpOnly && cookie.sameSite === 'Lax' && cookie.path === '/'), cookies);
  fact('nothing in the console of the theme switch', context.complaints.length === 0, context.complaints);

  const consent = login.replace('login', 'consent');
  const evil = await context.newPage();
  const body = `<!doctype html><link rel="icon" href="data:,"><iframe src="${consent}"></iframe><form id="f" method="post" action="${consent}"><input name="decision" value="approve"></form>`;
  await evil.route('https://evil.example/**', (route) => route.fulfill({ contentType: 'text/html', body }));
  await evil.goto('https://evil.example/');
  const framed = evil.frames().find((frame) => frame !== evil.mainFrame());
  await framed.waitForURL(/^chrome-error:/);
  fact('the consent page is not framed', (await framed.locator('#consent-form').count()) === 0);
  arrived.length = 0;
  await evil.evaluate(() => document.getElementById('f').submit());
  await evil.locator('#error-page').waitFor();
  fact('a form of another site is refused', (await evil.textContent('#error-code')) === 'invalid_request' && arrived.length === 0);
  await context.close();
}

for (const walk of [look, hostileClient, withoutScripts, byKeyboard, twoTabs, anotherSite]) {
  await walk().catch((error) => fact(`${walk.name} came to its end: ${error.message.slice(0, 600)}`, false));
}
await browser.close();
client.close();
client.closeAllConnections();
console.log(JSON.stringify({ facts: browser.facts, axe: browser.axe, serious: browser.serious }));
