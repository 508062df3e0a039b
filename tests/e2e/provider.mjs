// A real provider (npm oidc-provider) on this machine: client credentials, access tokens as RFC 9068 has them.
// node provider.mjs PORT AUDIENCE FIRST_KEY SECOND_KEY: files of private keys as JWK. SIGHUP: the second one signs.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, audience, ...files] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

function made(keys) {
  return new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: "gateway-1",
        client_secret: "not-a-secret",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: "ES256",
      },
    ],
    scopes: ["gate.ask"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: "gate.ask",
          audience: resource,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
        defaultResource: () => audience,
      },
    },
  }).callback();
}

const keys = files.map((file) => JSON.parse(readFileSync(file)));
let answer = made([keys[0]]);
process.on("SIGHUP", () => (answer = made([keys[1]])));
createServer((request, response) => answer(request, response)).listen(Number(port), "127.0.0.1");
