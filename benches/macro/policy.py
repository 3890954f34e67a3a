"""The one policy that every contestant enforces, and the shapes in which rivals want it."""

import json

import world

CREWS = 8
# Every user may read everything; a crew may create what is its own.
ROLES = {"user": [f"article{n}:read" for n in range(world.ROUTES)]}
ROLES |= {f"crew{crew}": [f"article{n}:create" for n in range(crew, world.ROUTES, CREWS)] for crew in range(CREWS)}
ACTIONS = {"GET": "read", "POST": "create"}
# Whose tokens are believed, by algorithm: Cedargate's own, and those of an issuer in its settings.
OURS, AUDIENCE, ANOTHER = "cedargate", "cedargate", "https://id.bench.example"


def issuer(algorithm):
    return OURS if algorithm == "HS256" else ANOTHER


def roles_of(number):
    """What the token or the user of this number has."""
    return [f"crew{number % CREWS}", "user"]


def path_of(number):
    return f"/articles{number % world.ROUTES}/{number}"


def complete(gate):
    """The crews, beside what `furnish` has made."""
    boss = gate.sign_in("superadmin")
    known, users = gate.every("/permissions/", boss), gate.every("/users/", boss)
    roles = {}
    for name, permissions in ROLES.items():
        if name == "user":
            continue
        roles[name] = gate.call("POST", "/roles/", {"name": name}, boss)["id"]
        for permission in permissions:
            gate.call("POST", f"/roles/{roles[name]}/permissions/{known[permission]}", token=boss)
    for number in range(world.USERS):
        crew = roles_of(number)[0]
        gate.call("POST", f"/users/{users[f'bench{number}']}/roles/{roles[crew]}", token=boss)


def issuers(jwks):
    """Cedargate's setting for the issuer that is not itself."""
    return json.dumps([{
        "name": "bench", "issuer": ANOTHER, "audiences": [AUDIENCE], "jwks_file": str(jwks),
        "principal": "claims", "roles_claim": "roles",
    }])


def haproxy_maps(folder):
    """Routes, methods and grants, each a map from text to text."""
    routes = {f"/articles{n}/": f"article{n}" for n in range(world.ROUTES)}
    grants = {f"{role}|{permission}": "1" for role, granted in ROLES.items() for permission in granted}
    for name, entries in (("routes", routes), ("methods", ACTIONS), ("grants", grants)):
        (folder / f"{name}.map").write_text("".join(f"{key} {value}\n" for key, value in entries.items()))


def lua_tables():
    """The same as the text of a Lua module."""
    quoted = lambda names: " ".join(f'["{name}"] = true,' for name in names)
    grants = "\n".join(f'    ["{role}"] = {{ {quoted(granted)} }},' for role, granted in ROLES.items())
    actions = " ".join(f'{method} = "{action}",' for method, action in ACTIONS.items())
    return f"return {{\n  actions = {{ {actions} }},\n  grants = {{\n{grants}\n  }},\n}}\n"
