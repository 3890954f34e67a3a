-- JWT and policy for nginx by ngx_lua: signatures by libcrypto, which nginx has loaded; grants from tables.
local ffi = require "ffi"
local decode_json = require("cjson.safe").decode
local decode_part = require("ngx.base64").decode_base64url

ffi.cdef [[
typedef struct bio_st BIO;
typedef struct evp_md_st EVP_MD;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
BIO *BIO_new_mem_buf(const void *text, int length);
int BIO_free(BIO *bio);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bio, EVP_PKEY **key, void *callback, void *user);
const EVP_MD *EVP_sha256(void);
EVP_MD_CTX *EVP_MD_CTX_new(void);
int EVP_MD_CTX_reset(EVP_MD_CTX *context);
int EVP_DigestVerifyInit(EVP_MD_CTX *context, void **pkey_context, const EVP_MD *digest, void *engine, EVP_PKEY *key);
int EVP_DigestVerify(EVP_MD_CTX *context, const char *signature, size_t length, const char *text, size_t text_length);
unsigned char *HMAC(const EVP_MD *digest, const char *key, int key_length, const char *text, size_t length,
                    unsigned char *tag, unsigned int *tag_length);
int CRYPTO_memcmp(const void *one, const void *other, size_t length);
void ERR_clear_error(void);
]]

local crypto = ffi.C
local sha256, context = crypto.EVP_sha256(), crypto.EVP_MD_CTX_new()
local tag, der = ffi.new("unsigned char[32]"), ffi.new("unsigned char[80]")
local gate, settings, policy, keys = {}, nil, nil, {}

local function read(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function gate.start(given)
  settings, policy = given, dofile(given.policy)
  for algorithm, name in pairs(given.keys) do
    local pem = read(name)
    local bio = crypto.BIO_new_mem_buf(pem, #pem)
    local key = crypto.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
    assert(key ~= nil, "no public key: " .. name)
    crypto.BIO_free(bio)
    keys[algorithm] = key
  end
end

-- Writes a big-endian number of 32 bytes as a DER integer at an offset, and returns the offset behind it.
local function integer(raw, from, at)
  local first, last = from, from + 31
  while first < last and raw:byte(first) == 0 do first = first + 1 end
  local pad = raw:byte(first) >= 128 and 1 or 0
  der[at], der[at + 1], der[at + 2] = 2, last - first + 1 + pad, 0
  ffi.copy(der + at + 2 + pad, ffi.cast("const char *", raw) + first - 1, last - first + 1)
  return at + 2 + pad + last - first + 1
end

local function genuine(algorithm, message, signature)
  if algorithm == "HS256" then
    crypto.HMAC(sha256, settings.secret, #settings.secret, message, #message, tag, nil)
    return #signature == 32 and crypto.CRYPTO_memcmp(tag, signature, 32) == 0
  end
  local key = keys[algorithm]
  if not key then return false end
  local given, length = signature, #signature
  if algorithm == "ES256" then
    if length ~= 64 then return false end
    length = integer(signature, 33, integer(signature, 1, 2))
    der[0], der[1] = 48, length - 2
    given = ffi.cast("const char *", der)
  end
  crypto.EVP_MD_CTX_reset(context)
  local digest = algorithm ~= "EdDSA" and sha256 or nil
  local good = crypto.EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1
    and crypto.EVP_DigestVerify(context, given, length, message, #message) == 1
  if not good then crypto.ERR_clear_error() end
  return good
end

local function object(part)
  local text = decode_part(part)
  local value = text and decode_json(text)
  return type(value) == "table" and value or nil
end

-- The claims of a token that is to be believed. Plain `find`: LuaJIT compiles it, and patterns it does not.
local function verified(bearer)
  if bearer:sub(1, 7) ~= "Bearer " then return nil end
  local first = bearer:find(".", 8, true)
  local second = first and bearer:find(".", first + 1, true)
  if not second then return nil end
  local header, signature = object(bearer:sub(8, first - 1)), decode_part(bearer:sub(second + 1))
  if not header or not signature or not genuine(header.alg, bearer:sub(8, second - 1), signature) then return nil end
  local claims, now = object(bearer:sub(first + 1, second - 1)), ngx.time()
  if not claims or claims.iss ~= settings.issuers[header.alg] or claims.aud ~= settings.audience then return nil end
  if type(claims.exp) ~= "number" or claims.exp <= now or (claims.nbf or 0) > now then return nil end
  return claims
end

-- What the routes are called in the policy: `/articles7/1` is of `article7`.
local function thing(path)
  local slash = path:sub(1, 9) == "/articles" and path:find("/", 10, true)
  return slash and "article" .. path:sub(10, slash - 1)
end

function gate.check()
  local claims = verified(ngx.var.http_authorization or "")
  if not claims then return ngx.exit(401) end
  local asked, action = thing(ngx.var.uri), policy.actions[ngx.req.get_method()]
  if asked and action then
    local permission = asked .. ":" .. action
    for _, role in ipairs(claims.roles or {}) do
      local granted = policy.grants[role]
      if granted and granted[permission] then
        ngx.var.user = claims.sub
        return
      end
    end
  end
  return ngx.exit(403)
end

return gate
