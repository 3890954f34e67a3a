"""The rows of an installation of any size, made by SQL, the same at every run."""

import dataclasses
import sqlite3

AT = "2026-01-01T00:00:00.000000Z"
# Ids below are those that Cedargate gives what it brings along.
FIRST, FIRST_ROUTE = 1000, 20_000


@dataclasses.dataclass(frozen=True)
class Size:
    """How many there are; pages are routes of the console's menu, the others are the gateway's."""

    users: int
    roles: int
    grants: int
    permissions: int
    modules: int
    pages: int
    routes: int


def rows(size):
    """What is made, how many of it, and the SQL, whose {series} numbers them from 1 as n."""
    return [
        ("permissions", size.permissions, """INSERT INTO permissions (id, name, description, category, is_active, created_at)
            SELECT 1000 + n, 'thing' || (n / 5) || ':verb' || (n % 5), 'What number ' || n || ' allows',
                   'category' || (n % 50), TRUE, {at} FROM {series}"""),
        ("roles", size.roles, """INSERT INTO roles (id, name, description, is_system_role, is_active, created_at)
            SELECT 1000 + n, 'role' || n, 'Who does what number ' || n || ' asks for', FALSE, TRUE, {at} FROM {series}"""),
        ("role_parents", size.roles // 10, """INSERT INTO role_parents (role_id, parent_id)
            SELECT 1000 + n * 10, 1000 + n FROM {series}"""),
        ("role_permissions", size.grants, """INSERT INTO role_permissions (role_id, permission_id, granted_at)
            SELECT 1001 + n % {roles}, 1001 + (n * 7 + (n / {roles}) * 331) % {permissions}, {at} FROM {series} WHERE TRUE
            ON CONFLICT DO NOTHING"""),
        ("role_permissions of the super role", 1, """INSERT INTO role_permissions (role_id, permission_id, granted_at)
            SELECT r.id, p.id, {at} FROM roles r JOIN permissions p ON p.id > 1000 WHERE r.name = 'superadmin'"""),
        ("users", size.users, """INSERT INTO users (id, username, username_key, email, email_lower, password_hash, is_active, created_at)
            SELECT 1000 + n, 'user' || n, 'user' || n, 'user' || n || '@example.com', 'user' || n || '@example.com', '!', n % 10 <> 0,
                   {at} FROM {series}"""),
        ("user_roles", size.users, """INSERT INTO user_roles (user_id, role_id, granted_at)
            SELECT 1000 + n, 1001 + n % {roles}, {at} FROM {series}"""),
        ("user_roles of all", size.users, """INSERT INTO user_roles (user_id, role_id, granted_at)
            SELECT 1000 + n, (SELECT id FROM roles WHERE name = 'user'), {at} FROM {series}"""),
        ("modules", size.modules, """INSERT INTO modules (id, name, label, route, priority, is_active, created_at)
            SELECT 1000 + n, 'module' || n, 'Module ' || n, '/module' || n, n % 10, TRUE, {at} FROM {series}"""),
        ("module_roles", size.roles, """INSERT INTO module_roles (module_id, role_id)
            SELECT 1001 + n % {modules}, 1000 + n FROM {series}"""),
        ("upstreams", 1, """INSERT INTO upstreams (name, protocol, targets, balance, timeouts, created_at)
            SELECT 'backend', protocol, targets, balance, timeouts, {at} FROM upstreams WHERE name = 'template'"""),
        ("routes", size.pages, """INSERT INTO routes (id, route, label, module_id, priority, is_sidebar, is_active, created_at)
            SELECT 1000 + n, '/module' || (n % {modules}) || '/page' || n, 'Page ' || n, 1001 + n % {modules}, n % 10, TRUE, TRUE, {at}
            FROM {series}"""),
        ("route_roles", size.pages * 10, """INSERT INTO route_roles (route_id, role_id)
            SELECT 1001 + n % {pages}, 1001 + (n * 13 + n / {pages}) % {roles} FROM {series} WHERE TRUE ON CONFLICT DO NOTHING"""),
        ("gateway routes", size.routes, """INSERT INTO routes
                (id, route, label, module_id, is_sidebar, is_active, upstream, operations, created_at)
            SELECT 20000 + n, '/part' || (n % 50) || '/place' || n || '/{{id}}', 'Place ' || n, 1001 + n % {modules}, FALSE, TRUE,
                   'template', {json}'[{{"methods":["GET"],"access":"permission","permission":"thing' || (n % {things}) || ':verb1"}}]'{json_end},
                   {at} FROM {series}"""),
    ]


def statements(size, series, json=("", "")):
    """The SQL of everything; `series` makes a table of so many numbers, `json` stands around a document."""
    numbers = {**dataclasses.asdict(size), "things": size.permissions // 5}
    for _, count, sql in rows(size):
        yield sql.format(at=f"'{AT}'", series=series(count), json=json[0], json_end=json[1], **numbers)


class Sqlite:
    name = "SQLite"

    def __init__(self, folder, size):
        self.path, self.size = folder / "scale.db", size
        self.url = f"sqlite://{self.path}"

    def fill(self):
        def series(count):
            return f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"

        with sqlite3.connect(self.path) as database:
            database.execute("PRAGMA foreign_keys = ON")
            for statement in statements(self.size, series):
                database.execute(statement)
            database.commit()
            database.execute("ANALYZE")
        database.close()

    def stop(self):
        pass
