// jose as verifier and signer: reads what to do as JSON from standard input, and answers with JSON.
import * as jose from "jose";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { jwks, algorithm, token, pem, secret, kid, claims } = JSON.parse(Buffer.concat(chunks));

const shared = new TextEncoder().encode(secret);
const demands = { algorithms: [algorithm], requiredClaims: ["exp", "sub", "jti"] };
const addressed = { ...demands, issuer: "cedargate", audience: "cedargate", typ: "at+jwt" };
const verified = kid
    ? await jose.jwtVerify(token, jose.createRemoteJWKSet(new URL(jwks)), addressed)
    : await jose.jwtVerify(token, shared, demands);

const key = kid ? await jose.importPKCS8(pem, algorithm) : shared;
const header = kid ? { alg: algorithm, kid, typ: "at+jwt" } : { alg: algorithm, typ: "JWT" };
const sign = (claims, header) => new jose.SignJWT(claims).setProtectedHeader(header).sign(key);
const stranger = await jose.generateKeyPair("ES256", { extractable: true });
const theirs = await jose.exportJWK(stranger.publicKey);
const now = Math.floor(Date.now() / 1000);

const tokens = {
    "good": await sign(claims, header),
    "expired": await sign({ ...claims, exp: now - 100 }, header),
    "not yet": await sign({ ...claims, nbf: now + 100 }, header),
    "another audience": await sign({ ...claims, aud: ["other"] }, header),
    "a float": await sign({ ...claims, exp: now + 100.5 }, header),
    "an embedded key": await new jose.SignJWT(claims)
        .setProtectedHeader({ ...header, alg: "ES256", jwk: theirs }).sign(stranger.privateKey),
    "an address of keys": await sign(claims, { ...header, jku: jwks }),
    "of a stranger": await new jose.SignJWT(claims).setProtectedHeader({ ...header, alg: "ES256" }).sign(stranger.privateKey),
    "unsecured": new jose.UnsecuredJWT(claims).encode(),
    "encrypted": await new jose.EncryptJWT(claims)
        .setProtectedHeader({ alg: "dir", enc: "A256GCM" }).encrypt(crypto.getRandomValues(new Uint8Array(32))),
};
console.log(JSON.stringify({ verified: verified.payload, tokens }));
