// A user at the pages of the server, without a browser: follows redirections, keeps cookies, submits the forms as they are.
// Reads one JSON object per line: {url, ca, username, password, decision, user_code?}; writes one per line: where it was sent away to,
// {location}, or what it was shown last, {page, text} or {error, description}.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'

const require = createRequire(`${process.argv[2]}/`)
const { Agent, request } = require('undici')

const STEPS_MAX = 12
const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const text = (html) =>
  html
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(#x[0-9a-f]+|#[0-9]+|[a-z]+);/gi, (whole, name) => {
      if (name[0] !== '#') return entities[name.toLowerCase()] ?? whole
      return String.fromCodePoint(name[1] === 'x' ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10))
    })
    .replace(/\s+/g, ' ')
    .trim()

function attributes(tag) {
  const found = {}
  for (const [, name, value] of tag.matchAll(/([a-z-]+)(?:="([^"]*)")?/gi)) found[name] ??= text(value ?? '')
  return found
}

// The form that has an element of this id, or has it itself: where it goes, and its fields as they stand.
function formWith(html, id) {
  for (const [form, opening] of html.matchAll(/(<form\b[^>]*>)[\s\S]*?<\/form>/g)) {
    if (!form.includes(`id="${id}"`)) continue
    const fields = {}
    const buttons = {}
    for (const [tag, kind] of form.matchAll(/<(input|button)\b[^>]*>/g)) {
      const its = attributes(tag)
      if (kind === 'button' || its.type === 'submit') buttons[its.id] = its
      else if (its.name && (its.type !== 'checkbox' || 'checked' in its)) fields[its.name] = its.value ?? ''
    }
    return { action: attributes(opening).action, fields, buttons, form }
  }
  return null
}

function press(form, id) {
  const button = form.buttons[id]
  if (!button) throw new Error(`there is no ${id}`)
  if (button.name) form.fields[button.name] = button.value ?? ''
  return form
}

function fill(visit, html) {
  const login = formWith(html, 'login-form')
  if (login) {
    if (visit.decision === 'cancel') return { ...press(login, 'login-cancel'), isLast: true }
    Object.assign(login.fields, { username: visit.username, password: visit.password })
    return press(login, 'login-submit')
  }
  const verb = visit.decision === 'approve' ? 'approve' : 'deny'
  for (const id of [`device-${verb}`, `consent-${verb}`]) {
    const form = formWith(html, id)
    if (form) return { ...press(form, id), isLast: true }
  }
  const code = formWith(html, 'user-code')
  if (code) {
    // Where the address has the code in it, the field has it, too.
    if (visit.user_code !== undefined) code.fields.user_code = visit.user_code
    return press(code, 'device-continue')
  }
  return null
}

async function go(visit) {
  const dispatcher = new Agent({ connect: { ca: readFileSync(visit.ca) } })
  const own = new URL(visit.url).origin
  const cookies = new Map()
  let next = { url: visit.url, method: 'GET' }
  let decided = false
  for (let step = 0; step < STEPS_MAX; step++) {
    const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') }
    if (next.body !== undefined) {
      headers['content-type'] = 'application/x-www-form-urlencoded'
      Object.assign(headers, { origin: own, 'sec-fetch-site': 'same-origin' })
    }
    const answer = await request(next.url, { method: next.method, body: next.body, headers, dispatcher })
    const html = await answer.body.text()
    for (const line of [answer.headers['set-cookie'] ?? []].flat()) {
      const [pair, ...rest] = line.split(';')
      const [name, value] = pair.split(/=(.*)/)
      if (rest.some((it) => /max-age=0/i.test(it))) cookies.delete(name)
      else cookies.set(name, value)
    }
    const location = answer.headers.location
    if (location) {
      const target = new URL(location, next.url)
      if (target.origin !== own) return { location: target.href, status: answer.statusCode }
      next = { url: target.href, method: 'GET' }
      continue
    }
    const error = html.match(/id="error-code"[^>]*>([^<]*)/)
    if (error) {
      const description = html.match(/id="error-description"[^>]*>([^<]*)/)
      return { error: text(error[1]), description: text(description?.[1] ?? ''), status: answer.statusCode }
    }
    const form = decided ? null : fill(visit, html)
    if (!form) return { page: text(html.match(/<h1[^>]*>([\s\S]*?)<\/h1>/)?.[1] ?? ''), text: text(html), status: answer.statusCode }
    decided = Boolean(form.isLast)
    next = {
      url: new URL(form.action || next.url, next.url).href,
      method: 'POST',
      body: new URLSearchParams(form.fields).toString(),
    }
  }
  return { error: 'no end', description: `after ${STEPS_MAX} steps at ${next.url}` }
}

for await (const line of createInterface({ input: process.stdin })) {
  const outcome = await go(JSON.parse(line)).catch((error) => ({ error: 'thrown', description: String(error.stack) }))
  console.log(JSON.stringify(outcome))
}
