"""What operators would pick instead, from Debian's packages: nginx and HAProxy, configured for the same policy."""

import os
import shutil
from pathlib import Path

import world
from macro import policy
from macro.cases import ASKING, HAPROXY, LUA, NGINX, VERIFYING
from macro.contestants import Contestant
from world import Process, free_port

PATH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
MODULES = Path("/usr/lib/nginx/modules")
LUA_PATHS = f"{Path(__file__).parent}/?.lua;/usr/share/lua/5.1/?.lua;;"
# Enough for the load's connections and as many to the upstream.
CONNECTIONS, POOL = 4096, 256

NGINX_CONFIG = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
{modules}
events {{ worker_connections {connections}; }}
http {{
  access_log off; server_tokens off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {before}
  upstream kept {{ server 127.0.0.1:{upstream}; keepalive {pool}; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024; {secure}
    {within}
    location / {{
      {gate}
      # All of them here: one of these in a location takes those of the outer levels away, and with them kept connections.
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; {headers}
      proxy_pass http://kept;
    }}
  }}
}}
"""

HAPROXY_CONFIG = """
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  no log
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend gate
  bind 127.0.0.1:{port} backlog 1024
  {secure}
  {rules}
  default_backend kept
backend kept
  server upstream 127.0.0.1:{upstream} pool-max-conn {pool} pool-purge-delay 600s
"""

# The payload is decoded once and then asked; asking the token each time would decode it each time.
HAPROXY_RULES = """
  http-request set-var(txn.token) http_auth_bearer
  http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
  acl own var(txn.alg) -m str HS256
  http-request set-var(txn.good) var(txn.token),jwt_verify(HS256,"{secret}") if own
  http-request set-var(txn.good) var(txn.token),jwt_verify(RS256,"{keys}/RS256.pem") if {{ var(txn.alg) -m str RS256 }}
  http-request set-var(txn.good) var(txn.token),jwt_verify(ES256,"{keys}/ES256.pem") if {{ var(txn.alg) -m str ES256 }}
  http-request deny deny_status 401 unless {{ var(txn.good) -m int 1 }}
  http-request set-var(txn.claims) var(txn.token),field(2,.),ub64dec
  http-request set-var(txn.iss) var(txn.claims),json_query('$.iss')
  http-request deny deny_status 401 if own !{{ var(txn.iss) -m str {ours} }}
  http-request deny deny_status 401 if !own !{{ var(txn.iss) -m str {another} }}
  http-request deny deny_status 401 unless {{ var(txn.claims),json_query('$.aud') -m str {audience} }}
  http-request set-var(txn.now) date
  http-request deny deny_status 401 unless {{ var(txn.claims),json_query('$.exp','int'),sub(txn.now) -m int gt 0 }}
  http-request set-var(txn.thing) path,map_beg({maps}/routes.map,none)
  http-request set-var(txn.action) method,map_str({maps}/methods.map,none)
  http-request set-var(txn.role) var(txn.claims),json_query('$.roles[0]')
  http-request set-var(txn.first) var(txn.role),concat(|,txn.thing,:),concat(,txn.action),map_str_int({maps}/grants.map,0)
  http-request set-var(txn.role) var(txn.claims),json_query('$.roles[1]')
  http-request set-var(txn.second) var(txn.role),concat(|,txn.thing,:),concat(,txn.action),map_str_int({maps}/grants.map,0)
  http-request deny deny_status 403 unless {{ var(txn.first) -m int 1 }} or {{ var(txn.second) -m int 1 }}
  http-request set-header X-Auth-Username %[var(txn.claims),json_query('$.sub')]
"""


class Rivals:
    """Starts those that are installed; `missing` says which are not."""

    def __init__(self, folder, upstream, credentials, certificate):
        self.folder, self.upstream, self.credentials, self.certificate = folder, upstream, credentials, certificate
        self.missing = []
        self.nginx_program, self.haproxy_program = (shutil.which(name, path=PATH) for name in ("nginx", "haproxy"))
        self.has_lua = all((MODULES / f"{name}_http{rest}_module.so").exists() for name, rest in (("ndk", ""), ("ngx", "_lua")))

    def start(self, running):
        """Each is noted as soon as it runs, so that it is ended whatever becomes of the next."""
        makers = {
            NGINX: (self.nginx_program, self.plain_nginx),
            ASKING: (self.nginx_program, self.asking_nginx),
            LUA: (self.nginx_program and self.has_lua, self.lua_nginx),
            HAPROXY: (self.haproxy_program, self.plain_haproxy),
            VERIFYING: (self.haproxy_program, self.gate_haproxy),
        }
        for name, (is_there, make) in makers.items():
            if is_there:
                running.append(make(name))
            else:
                self.missing.append(name)

    def place(self, name):
        folder = self.folder / name.replace(" ", "").replace("+", "-")
        folder.mkdir()
        return folder

    def nginx(self, name, folder, modules="", before="", within="", gate="", headers="", **how):
        port, tls_port = free_port(), free_port()
        certificate, key = self.certificate
        config = folder / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(
            folder=folder, connections=CONNECTIONS, pool=POOL, upstream=self.upstream, port=port, modules=modules,
            before=before, within=within, gate=gate, headers=headers,
            secure=f"listen 127.0.0.1:{tls_port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};",
        ))
        command = [self.nginx_program, "-p", folder, "-c", config]
        process = Process(name, command, folder)
        return Contestant(name, [process], port, tls_port=tls_port, **how)

    def plain_nginx(self, name):
        return self.nginx(name, self.place(name))

    def asking_nginx(self, name):
        """The least that any design costs which asks another process: that one answers without looking."""
        folder, asked = self.place(name), free_port()
        (folder / "asked").mkdir()
        answering = world.upstream(
            folder / "asked", asked, CONNECTIONS, "location = /ask { return 204; }", core=world.PROXY_CORE
        )
        contestant = self.nginx(
            name, folder, gate="auth_request /ask;",
            before=f"upstream asked {{ server 127.0.0.1:{asked}; keepalive {POOL};"
            " keepalive_requests 1000000000; keepalive_timeout 600s; }",
            within="""location = /ask {
      internal; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Content-Length "";
      proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Original-Method $request_method;
      proxy_pass_request_body off; proxy_pass http://asked;
    }""",
        )
        contestant.processes.append(answering)
        return contestant

    def lua_nginx(self, name):
        folder, keys = self.place(name), self.credentials.folder
        (folder / "policy.lua").write_text(policy.lua_tables())
        asymmetric = ("RS256", "ES256", "EdDSA")
        files = ", ".join(f'{algorithm} = "{keys}/{algorithm}.pem"' for algorithm in asymmetric)
        issuers = ", ".join(f'{algorithm} = "{policy.issuer(algorithm)}"' for algorithm in ("HS256", *asymmetric))
        return self.nginx(
            name, folder,
            modules="".join(f"load_module {MODULES}/{module}_module.so;\n" for module in ("ndk_http", "ngx_http_lua")),
            before=f"""lua_package_path "{LUA_PATHS}";
  init_by_lua_block {{
    gate = require "gate"
    gate.start {{ policy = "{folder}/policy.lua", keys = {{ {files} }}, secret = "{self.credentials.secret}",
      issuers = {{ {issuers} }}, audience = "{policy.AUDIENCE}" }}
  }}""",
            within='set $user "";', gate="access_by_lua_block { gate.check() }",
            headers="proxy_set_header X-Auth-Username $user;", enforces=("HS256", "RS256", "ES256", "EdDSA"),
        )

    def haproxy(self, name, rules="", **how):
        folder, port, tls_port = self.place(name), free_port(), free_port()
        certificate, key = self.certificate
        (folder / "both.pem").write_text(certificate.read_text() + key.read_text())
        if rules:
            policy.haproxy_maps(folder)
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY_CONFIG.format(
            connections=CONNECTIONS, pool=POOL, upstream=self.upstream, port=port,
            secure=f"bind 127.0.0.1:{tls_port} backlog 1024 ssl crt {folder}/both.pem alpn h2,http/1.1",
            rules=rules.format(
                secret=self.credentials.secret, keys=self.credentials.folder, maps=folder, ours=policy.OURS,
                another=policy.ANOTHER, audience=policy.AUDIENCE,
            ),
        ))
        process = Process(name, [self.haproxy_program, "-db", "-f", config], folder)
        return Contestant(name, [process], port, tls_port=tls_port, **how)

    def plain_haproxy(self, name):
        return self.haproxy(name)

    def gate_haproxy(self, name):
        # Its jwt_verify knows no EdDSA.
        return self.haproxy(name, HAPROXY_RULES, enforces=("HS256", "RS256", "ES256"))
