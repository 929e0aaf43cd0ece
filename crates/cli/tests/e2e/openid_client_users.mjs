// Grants with a user by npm's openid-client 6: an OAuth client that nobody here wrote. What the user does is done elsewhere.
// Reads one JSON object per line: {do, issuer, client_id, method, ca, cert, key, …}; writes one per line, {error} where it failed.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const require = createRequire(`${process.argv[2]}/`)
const client = await import(pathToFileURL(require.resolve('openid-client-6')))
const { Agent, fetch } = require('undici')

// Requests under way, by the name that the test gave them.
const pending = new Map()

async function configuration(test) {
  const connect = { ca: readFileSync(test.ca) }
  if (test.cert) Object.assign(connect, { cert: readFileSync(test.cert), key: readFileSync(test.key) })
  const dispatcher = new Agent({ connect })
  const metadata = { use_mtls_endpoint_aliases: true, ...test.metadata }
  const authentication = test.method === 'none' ? client.None() : client.TlsClientAuth()
  const options = { [client.customFetch]: (url, init) => fetch(url, { ...init, dispatcher }), algorithm: test.algorithm ?? 'oauth2' }
  return client.discovery(new URL(test.issuer), test.client_id, metadata, authentication, options)
}

// The key of a client whose tokens are bound to one, and the nonces that it was given (RFC 9449).
let keys
async function dpop(test, config) {
  if (!test.dpop) return undefined
  keys ??= await client.randomDPoPKeyPair('ES256')
  return { DPoP: client.getDPoPHandle(config, keys) }
}

// A user who does not decide is not waited for without end.
const patience = () => ({ signal: AbortSignal.timeout(60000) })

const shown = (tokens) => ({
  access_token: tokens.access_token,
  refresh_token: tokens.refresh_token ?? null,
  token_type: tokens.token_type,
  scope: tokens.scope ?? null,
  claims: tokens.claims?.() ?? null,
})

const actions = {
  async begin_code(test) {
    const config = await configuration(test)
    if (test.jarm) client.useJwtResponseMode(config)
    const verifier = client.randomPKCECodeVerifier()
    const checks = { expectedState: client.randomState(), pkceCodeVerifier: verifier }
    const parameters = {
      redirect_uri: test.redirect_uri,
      scope: test.scope,
      state: checks.expectedState,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }
    if (test.scope.split(' ').includes('openid')) {
      checks.expectedNonce = parameters.nonce = client.randomNonce()
      checks.idTokenExpected = true
    }
    const options = await dpop(test, config)
    const url = await client.buildAuthorizationUrlWithPAR(config, parameters, options)
    pending.set(test.name, { config, checks, options })
    return { url: url.href }
  },
  async finish_code(test) {
    const { config, checks, options } = pending.get(test.name)
    return shown(await client.authorizationCodeGrant(config, new URL(test.callback), checks, undefined, options))
  },
  async refresh(test) {
    const config = await configuration(test)
    return shown(await client.refreshTokenGrant(config, test.refresh_token, undefined, await dpop(test, config)))
  },
  async begin_device(test) {
    const config = await configuration(test)
    const response = await client.initiateDeviceAuthorization(config, { scope: test.scope })
    pending.set(test.name, { config, response })
    return response
  },
  async finish_device(test) {
    const { config, response } = pending.get(test.name)
    return shown(await client.pollDeviceAuthorizationGrant(config, response, undefined, patience()))
  },
  async begin_ciba(test) {
    const config = await configuration(test)
    const parameters = { scope: test.scope, login_hint: test.login_hint, binding_message: test.binding_message }
    const response = await client.initiateBackchannelAuthentication(config, parameters)
    pending.set(test.name, { config, response })
    return response
  },
  async finish_ciba(test) {
    const { config, response } = pending.get(test.name)
    return shown(await client.pollBackchannelAuthenticationGrant(config, response, undefined, patience()))
  },
  async userinfo(test) {
    const config = await configuration(test)
    return client.fetchUserInfo(config, test.access_token, client.skipSubjectCheck, await dpop(test, config))
  },
  async call(test) {
    const config = await configuration(test)
    const options = await dpop(test, config)
    const response = await client.fetchProtectedResource(config, test.access_token, new URL(test.url), 'GET', undefined, undefined, options)
    return { status: response.status }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const test = JSON.parse(line)
  const failed = (error) => ({ error: error.error ?? error.code ?? error.name, description: String(error.cause ?? error) })
  console.log(JSON.stringify(await actions[test.do](test).catch(failed)))
}
