// A real OpenID provider on a loopback port, for services that sign in as themselves and get an access token for one API.
// The first argument is an object: what else the token of each client says, by the client's id. It prints its port; a line
// on its standard input makes it sign with a new key from then on, which it confirms with a line.
import { createServer } from 'node:http';
import { generateKeyPair, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import Provider from 'oidc-provider';

const claims = JSON.parse(process.argv[2] ?? '{}');
const clients = Object.keys(claims).map((id) => ({
  client_id: id,
  client_secret: 'secret',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
}));

async function key() {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomBytes(8).toString('hex') };
}

const api = { scope: 'api', audience: 'cedargate', accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } };

async function provider(issuer) {
  return new Provider(issuer, {
    clients,
    jwks: { keys: [await key()] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    extraTokenClaims: (_ctx, token) => claims[token.clientId],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, defaultResource: () => 'urn:api', getResourceServerInfo: () => api },
    },
  });
}

let handler = (_request, response) => response.writeHead(503).end();
const server = createServer((request, response) => handler(request, response));
server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address();
  const issuer = `http://127.0.0.1:${port}`;
  handler = (await provider(issuer)).callback();
  console.log(port);
  for await (const _line of createInterface({ input: process.stdin })) {
    handler = (await provider(issuer)).callback();
    console.log('rotated');
  }
  process.exit(0);
});
