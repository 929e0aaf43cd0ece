// Client credentials by npm's openid-client: an OAuth client that nobody here wrote.
// Reads one JSON object per line: {issuer, client_id, method, ca, cert?, key?, resource}; writes one per line:
// {status, error?, bound?, resource_status?}.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'

const require = createRequire(`${process.argv[2]}/`)
const { Issuer, custom, errors } = require('openid-client')

function call(url, token, tls) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers: { authorization: `Bearer ${token}` }, agent: false, ...tls }, (received) => {
      received.resume()
      resolve(received.statusCode)
    })
    sent.on('error', reject)
    sent.end()
  })
}

async function ask(test) {
  const tls = { ca: readFileSync(test.ca) }
  if (test.cert) Object.assign(tls, { cert: readFileSync(test.cert), key: readFileSync(test.key) })
  custom.setHttpOptionsDefaults({ ca: tls.ca, timeout: 20000 })
  const issuer = await Issuer.discover(`${test.issuer}/.well-known/oauth-authorization-server`)
  const client = new issuer.Client({
    client_id: test.client_id,
    // Without a certificate it refuses to speak mutual TLS at all, so it asks as a client that knows nothing of it.
    token_endpoint_auth_method: test.cert ? test.method : 'none',
    tls_client_certificate_bound_access_tokens: Boolean(test.cert),
  })
  client[custom.http_options] = () => ({ ...tls, agent: false })
  try {
    const tokens = await client.grant({ grant_type: 'client_credentials' })
    const claims = JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url'))
    const resource_status = await call(test.resource, tokens.access_token, tls)
    return { status: 200, bound: claims.cnf?.['x5t#S256'] ?? null, resource_status }
  } catch (error) {
    if (error instanceof errors.OPError) return { status: error.response.statusCode, error: error.error }
    return { status: 0, error: String(error) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await ask(JSON.parse(line))))
}
